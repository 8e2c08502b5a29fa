import csv
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import watersic
from conftest import BOOKS, ROOT

lm_eval = pytest.importorskip("lm_eval", reason="needs lm-eval")

from watersic.lm_eval import WatersicLM  # noqa: E402

QUESTIONS = ROOT / "tests" / "data" / "tasks" / "questions.jsonl"
# Prompts as docs/conventions.md has them: the query, a space, the choice.
TASK = f"""
task: questions
dataset_path: json
dataset_kwargs:
  data_files: {{test: {QUESTIONS}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{query if query is not none else context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
target_delimiter: " "
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture(scope="module")
def model(wsic):
    return WatersicLM(path=str(wsic), threads=2)


def requests(*arguments):
    return [SimpleNamespace(args=each) for each in arguments]


def test_command_finds_model_and_agrees_with_eval(tmp_path):
    (tmp_path / "questions.yaml").write_text(TASK)
    command = [sys.executable, "-m", "watersic.lm_eval", "--model", "watersic"]
    command += ["--model_args", f"path={BOOKS},weights=float32,threads=2", "--tasks", "questions"]
    command += [
        "--include_path",
        str(tmp_path),
        "--output_path",
        str(tmp_path / "out"),
        "--log_samples",
    ]
    environment = {"PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    (results,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(results.read_text())["results"]["questions"]
    picks = tmp_path / "picks.csv"
    expected = watersic.run_task(BOOKS, "multiple-choice", QUESTIONS, picks=picks)
    assert found["acc,none"] == pytest.approx(expected["acc"])
    assert found["acc_norm,none"] == pytest.approx(expected["acc_norm"])
    # Question by question: the log-likelihoods of all choices.
    (samples,) = (tmp_path / "out").rglob("samples_*.jsonl")
    theirs = {}
    for line in samples.read_text().splitlines():
        sample = json.loads(line)
        theirs[sample["doc_id"]] = [float(answer[0]) for answer in sample["filtered_resps"]]
    with open(picks, newline="") as file:
        for answer in csv.DictReader(file):
            ours = [float(value) for value in answer["log_likelihoods"].split()]
            assert theirs[int(answer["question"])] == pytest.approx(ours, abs=1e-3)


def test_log_likelihoods_are_sums_of_scores(model):
    ours = model.model
    whole, before = ours.tokenize("It was the best"), ours.tokenize("It was")
    ((log_p, likeliest),) = ours.score([(whole, len(before))])
    (found, alone) = model.loglikelihood(
        requests(("It was", " the best"), ("", "It was")), disable_tqdm=True
    )
    assert found == (pytest.approx(log_p.sum(), abs=0.05), all(likeliest))
    ((alone_log_p, _),) = ours.score([(before, 1)])
    assert alone[0] == pytest.approx(alone_log_p.sum(), abs=0.05)
    # The one that is written without chance is the most likely one.
    text = ours.generate("It was", 1, temperature=0)
    ((_, greedy),) = model.loglikelihood(requests(("It was", text)), disable_tqdm=True)
    assert greedy == (
        ours.tokenize("It was" + text)[len(before) :] == ours.tokenize(text, special=False)
    )
    # What is too long loses its beginning.
    ((long, _),) = model.loglikelihood(requests(("word " * 300, "the best")), disable_tqdm=True)
    assert long < 0


def test_rolling(model):
    ours = model.model
    text = "It was the best of times, it was the worst of times. " * 12
    ids = ours.tokenize(text)
    assert len(ids) > ours.context
    (found,) = model.loglikelihood_rolling(requests((text,)))
    first = [ours.first_token] + ids[: ours.context]
    rest = len(ids) - ours.context
    second = ids[-(ours.context + 1) :]
    (a, _), (b, _) = ours.score([(first, 1), (second, len(second) - rest)])
    assert found == pytest.approx(a.sum() + b.sum(), rel=0.02)


def test_texts_are_generated(model):
    ours = model.model
    whole = ours.generate("It was", 20, temperature=0)
    options = {"until": [whole[9:12]], "max_gen_toks": 20, "do_sample": False, "temperature": 0.0}
    (plain, stopped, long) = model.generate_until(
        requests(
            ("It was", {"max_gen_toks": 20}),
            ("It was", options),
            ("word " * 300, {"max_gen_toks": 5, "do_sample": True, "temperature": 0.8, "top_k": 5}),
        )
    )
    assert plain == whole and stopped == whole[: whole.find(whole[9:12])] and isinstance(long, str)
    with pytest.raises(ValueError, match="expected none of num_beams"):
        model.generate_until(requests(("It was", {"num_beams": 4})))
    with pytest.raises(ValueError, match="max_gen_toks: expected less than 128"):
        model.generate_until(requests(("It was", {"max_gen_toks": 128})))


def test_conversations(model):
    said = [{"role": "user", "content": "Hello"}]
    text = model.apply_chat_template(said)
    assert model.tok_encode(text) == model.model.chat_tokens(said)
    assert (
        model.apply_chat_template(said, add_generation_prompt=False) == text[: -len("assistant: ")]
    )
    assert "messages" in model.chat_template(True) and model.chat_template(False) is None


def test_what_makes_no_sense_is_refused(wsic):
    with pytest.raises(ValueError, match="max_length: expected 1 to 128"):
        WatersicLM(path=str(wsic), max_length=129)
    with pytest.raises(TypeError):
        WatersicLM(path=str(wsic), colour="red")
