"""Baselines that a gain of ES-MAML is measured against: plain ES on one task, and policy-gradient MAML.

Domain randomisation and the untrained start need nothing of their own: they are `esmaml train --baseline` and lines of
`esmaml eval`. docs/baselines.md says what each is and how its episodes are counted. Only policy-gradient MAML needs
torch, and only its modules (gaussian_policy, rollouts, surrogate, pg_maml, pg_score) import it.
"""
