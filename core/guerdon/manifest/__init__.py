"""The manifest: the file that selects models, data, rewards and stages."""

from guerdon.manifest.loading import load_manifest
from guerdon.manifest.plan import Plan, StagePlan, plan_rubric, plan_run
from guerdon.manifest.schema import Manifest

__all__ = ["Manifest", "Plan", "StagePlan", "load_manifest", "plan_rubric", "plan_run"]
