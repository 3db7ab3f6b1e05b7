"""`esmaml demo --quick` in pieces that test_wheel does not look at: resume, names, and the summary."""

import json


def test_quick_demo_summary_and_second_name(esmaml, tmp_path):
    first = esmaml("demo", "--quick", cwd=tmp_path)
    assert "bit-equal" in first.stderr
    summary = json.loads((tmp_path / "runs" / "demo" / "summary.json").read_text())
    labels = [row["label"] for row in summary["scores"]]
    assert labels[0] == "ES-MAML"
    assert sum("untrained" in label for label in labels) == 2
    assert sum("domain randomisation" in label for label in labels) == 2
    used = {row["label"]: row["training_episodes"] for row in summary["scores"]}
    assert used["ES-MAML"] == used["domain randomisation"] > 0

    # training is there already, so a resumed demo only evaluates, adapts once more and exports
    esmaml("demo", "--quick", "--resume", cwd=tmp_path)
    again = json.loads((tmp_path / "runs" / "demo" / "summary.json").read_text())
    assert again["scores"] == summary["scores"]
    assert again["adaptation"] == summary["adaptation"]
    assert (tmp_path / "runs" / "demo" / "esmaml" / "adapted" / "robot-2" / "journal").exists()
