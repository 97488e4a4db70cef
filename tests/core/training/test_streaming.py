"""Rows that are read while a training needs them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tiny_training import cpu_config
from torch.utils.data import DataLoader

from guerdon import Row
from guerdon.errors import DataError
from guerdon.training import streaming
from guerdon.training.streaming import RowStream, streamed_dataset


class Rows:
    """Counts how many rows were read, and how often they were opened."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.read = 0
        self.opened = 0

    def __call__(self) -> Iterator[Row]:
        self.opened += 1
        for number in range(self._count):
            self.read += 1
            yield {"prompt": f"say {number}", "number": number}


def numbers(stream: RowStream, count: int) -> list[list[int]]:
    return [[row["number"] for row in stream.batch(number)] for number in range(count)]


def test_a_stream_has_the_batches_of_epochs_in_the_order_of_the_rows() -> None:
    assert numbers(RowStream(Rows(7), 3), 5) == [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5], [0, 1, 2]]


def test_a_shuffled_stream_has_each_row_once_in_a_pass_and_another_order_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "WINDOW", 8)
    stream = RowStream(Rows(24), 4, shuffle_seed=3)
    first, second = (list(chain(*numbers(stream, 12)[start : start + 6])) for start in (0, 6))
    assert sorted(first) == sorted(second) == list(range(24))
    assert first != second
    assert first != sorted(first)
    assert [row // 8 for row in first] == [0] * 8 + [1] * 8 + [2] * 8
    assert numbers(RowStream(Rows(24), 4, shuffle_seed=4), 6) != numbers(stream, 6)


@pytest.mark.parametrize("seed", [None, 0])
def test_any_batch_can_be_asked_for(seed: int | None) -> None:
    expected = numbers(RowStream(Rows(20), 3, seed), 20)
    stream = RowStream(Rows(20), 3, seed)
    for number in (13, 13, 14, 2, 19, 0):
        assert [row["number"] for row in stream.batch(number)] == expected[number]


def test_a_stream_reads_no_further_than_its_window() -> None:
    rows = Rows(1_000_000)
    stream = RowStream(rows, 4, shuffle_seed=0)
    stream.batch(0)
    stream.batch(0)
    assert rows.read == streaming.WINDOW
    rows = Rows(1_000_000)
    RowStream(rows, 4).batch(10)
    assert rows.read == 44
    assert rows.opened == 1


def test_too_few_rows_for_a_batch_are_an_error() -> None:
    with pytest.raises(DataError, match="there are 3 prompts, and one batch takes 4"):
        RowStream(Rows(3), 4).batch(0)
    with pytest.raises(DataError, match="there are 0 prompts"):
        RowStream(Rows(0), 4, 1).batch(0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"question": "?"}, "row 5 of the training data has no 'prompt'"),
        ({"prompt": ""}, "row 5 of the training data has an empty prompt"),
        (
            {"prompt": [{"role": "user", "content": "?"}]},
            "row 5 of the training data has a prompt in another",
        ),
    ],
)
def test_a_wrong_row_is_named_when_it_is_read(wrong: Row, words: str) -> None:
    rows = [*Rows(5)(), wrong]
    stream = RowStream(lambda: rows, 2)
    stream.batch(1)
    with pytest.raises(DataError, match=words):
        stream.batch(2)


def args(folder: Path, **options: Any) -> Any:
    sizes = {"per_device_train_batch_size": 4, "num_generations": 2, "max_steps": 5, **options}
    return cpu_config(folder, **sizes)


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, 5 * 2),
        ({"gradient_accumulation_steps": 2}, 5 * 4),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 4}, 3 * 8),
        ({"num_iterations": 2}, 3 * 2),
    ],
)
def test_a_streamed_dataset_has_the_prompts_of_all_steps(
    tmp_path: Path, options: dict[str, Any], rows: int
) -> None:
    config = args(tmp_path, **options)
    dataset = streamed_dataset(Rows(100), config)
    assert len(dataset) == rows
    assert config.shuffle_dataset is False
    assert dataset[0]["row"]["prompt"] == dataset[0]["prompt"]


def test_processes_of_a_data_loader_read_for_themselves(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("".join(f"say {number}\n" for number in range(5000)))

    def rows() -> Iterator[Row]:
        with path.open(buffering=16) as file:
            yield from ({"prompt": line.strip()} for line in file)

    dataset: Any = streamed_dataset(rows, args(tmp_path, shuffle_dataset=False, max_steps=2000))
    assert dataset[0]["prompt"] == "say 0"  # the file is open before the processes start
    loader: Any = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=list)
    prompts = [row["prompt"] for batch in loader for row in batch]
    assert prompts == [f"say {number}" for number in range(4000)]


def test_datasets_needs_no_copy_of_the_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Closed:
        def __reduce__(self) -> Any:
            raise TypeError("cannot be pickled")

        def __call__(self) -> Iterator[Row]:
            return Rows(100)()

    assert streamed_dataset(Closed(), args(tmp_path))[0]["prompt"].startswith("say")
    assert "hashed" not in caplog.text
