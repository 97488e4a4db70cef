"""Read and plan a manifest: the file that selects models, data, rewards and stages."""

from guerdon.manifest.loading import ManifestFile, load_manifest, read_manifest
from guerdon.manifest.plan import Plan, StagePlan, draft_run, plan_rubric, plan_run
from guerdon.manifest.schema import Manifest

__all__ = [
    "Manifest",
    "ManifestFile",
    "Plan",
    "StagePlan",
    "draft_run",
    "load_manifest",
    "plan_rubric",
    "plan_run",
    "read_manifest",
]
