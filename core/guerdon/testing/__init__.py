r"""The conformance kit: the requirements of the engine and other trainers, as test classes to inherit from.

```python
from guerdon.testing import Case, VerifierConformance


class TestTidy(VerifierConformance):
    plugin = "tidy"
    golden = (Case("4", 1.0), Case("Let me think.\nIt is 4.", 0.0))
    hacks = (Case("", 0.0, why="an empty answer"),)
```

``guerdon plugins test NAME`` runs the same checks without a file. The kit checks the requirements of every verifier.
The cases define which completions earn which score.
"""

from guerdon.files import read_rows
from guerdon.testing.base import CheckResult, Conformance, run_checks
from guerdon.testing.cases import Case, read_cases
from guerdon.testing.group_rewards import GroupRewardConformance
from guerdon.testing.hooks import HooksConformance
from guerdon.testing.rewards import RewardConformance
from guerdon.testing.sources import SourceConformance
from guerdon.testing.stages import StageConformance
from guerdon.testing.tools import EnvironmentConformance, ToolConformance
from guerdon.testing.verifiers import VerifierConformance

__all__ = [
    "Case",
    "CheckResult",
    "Conformance",
    "EnvironmentConformance",
    "GroupRewardConformance",
    "HooksConformance",
    "RewardConformance",
    "SourceConformance",
    "StageConformance",
    "ToolConformance",
    "VerifierConformance",
    "read_cases",
    "read_rows",
    "run_checks",
]
