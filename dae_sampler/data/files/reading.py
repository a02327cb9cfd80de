"""A picture file, read whole."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ...errors import InputError
from .picture import PictureFile
from .png import read_png
from .png_chunks import SIGNATURE
from .raster import read_raster
from .tags import MAGIC, DamagedError
from .tiff_in import read_tiff

_RAW = frozenset({".3fr", ".arw", ".cr2", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".sr2", ".srw"})


def read_file(path: Path | str, *, large: bool = False) -> PictureFile:
    """All of a picture file: every page in full depth, upright, the alpha, and what the file says about them.

    TIFF (8 to 32-bit integers, 16 to 64-bit floats, any channels, several pages, stacks of ImageJ and OME-TIFF), PNG
    (also 16 bits in colour, and animations), and what Pillow reads: JPEG, WebP, AVIF, GIF, BMP, PGM, PPM, JPEG 2000.
    HEIC where pillow-heif is installed. Some compressions in TIFF files, LZW and JPEG among them, need imagecodecs.

    Args:
        path: the file. Its content decides about the format, not its name.
        large: allow pages of more pixels than Pillow's limit, ``PIL.Image.MAX_IMAGE_PIXELS``.

    Raises:
        InputError: there is no such file; it is no picture, damaged or too large; it is a kind of picture that is not
            supported; or it needs a package that is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no picture at {path}: give a picture file")
    try:
        with path.open("rb") as file:
            head = file.read(len(SIGNATURE))
        if not head:
            raise DamagedError("it is empty")
        if head[:4] in MAGIC:
            if path.suffix.lower() in _RAW:
                raise InputError(f"{path} is a camera's raw file: develop it to a 16-bit TIFF first")
            return read_tiff(path, large)
        return read_png(path, large) if head == SIGNATURE else read_raster(path, large)
    except InputError:
        raise
    except Image.DecompressionBombError:  # where Pillow looks at the size by itself
        cure = "save it as PNG or TIFF first"
        if not large:
            cure = "give `large` where a command has it, or cut the picture into parts"
        raise InputError(f"{path} has more pixels than the limit: {cure}") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into memory: cut it into parts") from None
    except Exception as error:  # codecs raise almost anything on a damaged file
        reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"cannot read {path} as a picture ({reason}): remove or replace the file") from None
