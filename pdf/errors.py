"""What can go wrong with the printed report.

PdfError
└── FontError            the site's own font cannot be used
"""


class PdfError(Exception):
    """Base of every error of this package."""


class FontError(PdfError):
    """The font a site names for letters that the built-in one lacks cannot be used."""
