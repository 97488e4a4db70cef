"""Files of rows: one reader and one writer of JSONL, JSON, CSV, TSV, text and Parquet, plain or compressed.

No file is held in memory, every error names the file and the line, and an output appears whole or not at all.
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
