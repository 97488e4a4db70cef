"""How the prompts of a GRPO training are drawn from its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from guerdon import Row
from guerdon.errors import ParamsError
from guerdon_plugins.shared.checks import check_columns_of_few_values

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import GRPOConfig

    from guerdon.grpo.curriculum import Curriculum


class Prompts(NamedTuple):
    """The stage's params that decide it."""

    streaming: bool
    curriculum_by: str | None
    dynamic: bool
    """Whether dynamic sampling draws further prompts."""

    def check(self, options: Mapping[str, Any]) -> None:
        """Check that the params go together, and with TRL's options.

        Raises:
            ParamsError: They do not.
        """
        if self.streaming:
            self._check_streaming(options)
        if self.curriculum_by is not None:
            self._check_curriculum(options)

    def _check_streaming(self, options: Mapping[str, Any]) -> None:
        if options.get("max_steps", -1) < 1:
            raise ParamsError(
                "streaming is true, and max_steps is not set: the number of rows of a stream is unknown, so an epoch "
                "is too. Set max_steps."
            )
        if self.dynamic:
            raise ParamsError(
                "dynamic_sampling is set, and streaming is true: fresh prompts come from any place in the data, which "
                "a stream does not have. Leave out one of the two."
            )

    def _check_curriculum(self, options: Mapping[str, Any]) -> None:
        if options.get("max_steps", -1) < 1:
            raise ParamsError(
                "curriculum_by is set, and max_steps is not: a curriculum has no epochs. Set max_steps."
            )
        conflicts = {
            "streaming": (self.streaming, "a stream has only its next rows to draw from"),
            "dynamic_sampling": (self.dynamic, "it draws prompts from all rows"),
            "shuffle_dataset: false": (
                options.get("shuffle_dataset") is False,
                "a curriculum decides the order",
            ),
            "dataloader_num_workers": (
                options.get("dataloader_num_workers"),
                "the processes of a data loader do not see the rewards",
            ),
        }
        for name, (given, reason) in conflicts.items():
            if given:
                raise ParamsError(
                    f"curriculum_by is set together with {name}: {reason}. Leave out one of the two."
                )

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Check that the rows have the column of a curriculum.

        Raises:
            DataError: None has it, or it has too many values.
        """
        if self.curriculum_by is not None:
            check_columns_of_few_values("curriculum_by", [self.curriculum_by], rows)

    def dataset(
        self, open_rows: Callable[[], Iterable[Row]], config: GRPOConfig
    ) -> tuple[Dataset, Curriculum | None]:
        """Return the prompts of the training, and the curriculum that draws them, if there is one."""
        from guerdon.grpo.curriculum import curriculum_dataset
        from guerdon.training.data import rows_dataset
        from guerdon.training.streaming import streamed_dataset

        if self.curriculum_by is not None:
            rows = list(open_rows())
            self.check_rows(rows)
            return curriculum_dataset(rows, self.curriculum_by, config)
        return streamed_dataset(open_rows, config) if self.streaming else rows_dataset(open_rows()), None
