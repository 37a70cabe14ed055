"""Other people's programs that judge DICOM objects, and what they say that is not acted upon."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

# What dciodvfy (dicom3tools 20220618) says of our objects and is not acted upon. Nothing else may be said.
ALLOWED_FINDINGS = (
    # the node's own coding scheme: a checker cannot know it, CodingSchemeIdentificationSequence says what it is
    r"Warning - Unrecognized defined term <99BMA> for value 1 of attribute <Coding Scheme Designator>",
    # false: the attribute is not in the object; the checker tests the condition even where it is absent
    r"Error - Only valid for AnnotationCoordinateType of 3D - attribute <CommonZCoordinateValue> = <>",
    # the Specimen module (and the code of the container type in it) came to the ANN IOD after this checker
    r"Warning - Attribute is not present in standard DICOM IOD - \(0x0040,0x05(12|13|18|51|54|60|62)\) .*",
    r"Warning - Attribute is not present in standard DICOM IOD - \(0x0040,0x0610\) .*",
    r"Warning - Attribute is not present in standard DICOM IOD - \(0x0008,0x010[024]\) .*",
    r"Warning - Dicom dataset contains attributes not present .* - this is a Standard Extended SOP Class",
)


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a peer; one that is missing fails the test."""
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.is_file() else shutil.which(program)
    assert found, f"{program} is not installed; see `make packages`"
    return subprocess.run(
        [found, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120, errors="replace"
    )


def findings(path: Path) -> list[str]:
    """What dciodvfy reports beyond the allowed."""
    lines = [line for line in run("dciodvfy", path).stderr.splitlines() if re.match(r"(Error|Warning)\b", line)]
    return [line for line in lines if not any(re.fullmatch(allowed, line) for allowed in ALLOWED_FINDINGS)]
