"""Attack verifiers and whole rubrics with a corpus of exploits, and report what each would earn.

The corpus is data: ``corpora/*.yaml``, one file for each kind of verifier. This package knows no plugin by name; a
verifier names its kind by an attribute ``audit_kind``.
"""

from guerdon.audit.auditing import AuditReport, AuditVerdict, CaseResult, audit_rubric
from guerdon.audit.corpus import KINDS, Problem
from guerdon.audit.problems import OWN_FORM, case_problems, kinds_of, own_problems, stage_problems

__all__ = [
    "KINDS",
    "OWN_FORM",
    "AuditReport",
    "AuditVerdict",
    "CaseResult",
    "Problem",
    "audit_rubric",
    "case_problems",
    "kinds_of",
    "own_problems",
    "stage_problems",
]
