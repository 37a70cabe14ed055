"""What can go wrong in the pipeline.

PipelineError
├── WeightsError         a bundle file is missing, altered or of another shape
├── ImageError           an image or annotation cannot be used
├── NoCountableRegion    the slide cannot be counted: the message is the reason a person reads
├── TooFewCells          nothing countable was found in the region
├── TrainingError        training data or a run's folder cannot be used; nothing was trained
└── OutOfMemory          the device's memory was exhausted
"""


class PipelineError(Exception):
    """Base of every error of this package."""


class WeightsError(PipelineError):
    """A bundle file is missing, altered or of another shape."""


class ImageError(PipelineError):
    """An image or annotation cannot be used."""


class NoCountableRegion(PipelineError):
    """The slide cannot be counted; the message is the reason a person reads."""


class TooFewCells(PipelineError):
    """No countable cell was found."""


class OutOfMemory(PipelineError):
    """The device's memory was exhausted."""


class TrainingError(PipelineError):
    """Training data or a run's folder cannot be used; the message names the file and the remedy."""
