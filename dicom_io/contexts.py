"""What this node exchanges: SOP classes and transfer syntaxes, each named (PS3.4 B.5, PS3.5 Annex A).

pynetdicom's own list of storage contexts offers no compressed syntax, no annotations and no label maps, so nothing of
it is used.
"""

from pydicom import uid
from pynetdicom import sop_class

WHOLE_SLIDE = str(sop_class.VLWholeSlideMicroscopyImageStorage)
KEY_OBJECT_SELECTION = str(sop_class.KeyObjectSelectionDocumentStorage)
ENCAPSULATED_PDF = str(sop_class.EncapsulatedPDFStorage)

STORED_SOP_CLASSES = tuple(
    str(each)
    for each in (
        sop_class.VLWholeSlideMicroscopyImageStorage,
        sop_class.VLMicroscopicImageStorage,
        sop_class.VLSlideCoordinatesMicroscopicImageStorage,
        sop_class.SegmentationStorage,
        sop_class.LabelMapSegmentationStorage,
        sop_class.MicroscopyBulkSimpleAnnotationsStorage,
        sop_class.EnhancedSRStorage,
        sop_class.ComprehensiveSRStorage,
        sop_class.Comprehensive3DSRStorage,
        sop_class.ParametricMapStorage,
        sop_class.ColorSoftcopyPresentationStateStorage,
        sop_class.AdvancedBlendingPresentationStateStorage,
        sop_class.EncapsulatedPDFStorage,
        sop_class.KeyObjectSelectionDocumentStorage,
    )
)

UNCOMPRESSED = (str(uid.ExplicitVRLittleEndian), str(uid.ImplicitVRLittleEndian))
ENCAPSULATED = tuple(
    str(each)
    for each in (
        uid.JPEGBaseline8Bit,
        uid.JPEG2000Lossless,
        uid.JPEG2000,
        uid.HTJ2KLossless,
        uid.HTJ2KLosslessRPCL,
        uid.HTJ2K,
        uid.JPEGLSLossless,
        uid.JPEGLSNearLossless,
        uid.RLELossless,
    )
)
STORED_TRANSFER_SYNTAXES = UNCOMPRESSED + ENCAPSULATED
