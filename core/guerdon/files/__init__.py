"""Read and write files of rows: JSONL, JSON, CSV, TSV, text and Parquet, plain or compressed.

Files are streamed, errors name the file and the line, and an output file is replaced atomically.
"""

from guerdon.files.formats import FORMATS, PARQUET, Format, format_of, readable_format
from guerdon.files.reading import CHUNK_ROWS, Located, read_rows
from guerdon.files.streams import replaced
from guerdon.files.writing import Write, written_rows

__all__ = [
    "CHUNK_ROWS",
    "FORMATS",
    "PARQUET",
    "Format",
    "Located",
    "Write",
    "format_of",
    "read_rows",
    "readable_format",
    "replaced",
    "written_rows",
]
