"""Makes this folder's helper modules importable: pytest's import mode leaves sys.path alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
