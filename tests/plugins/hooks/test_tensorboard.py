from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from guerdon import StageResult
from guerdon.hookspecs import RunInfo
from guerdon_plugins.hooks.tensorboard import TensorBoard


def test_metrics_of_all_stages_reach_tensorboard(tmp_path: Path) -> None:
    run = RunInfo("x", tmp_path, {}, ["a", "b"])
    board = TensorBoard()
    for stage in ("a", "b"):
        for step in (1, 2):
            board.stage_progress(run, stage, step, {"reward": step / 2})
        board.stage_finished(run, stage, StageResult(metrics={"accuracy": 0.5, "tables": {}}))
    board.run_finished()
    read = EventAccumulator(str(tmp_path / "tensorboard" / "b"))
    read.Reload()
    assert set(read.Tags()["tensors"]) >= {"reward", "result/accuracy"}
    assert [event.step for event in read.Tensors("reward")] == [1, 2]
