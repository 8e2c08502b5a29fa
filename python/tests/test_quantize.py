import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import watersic
from conftest import QUICK

OPTIONS = QUICK | {"bits": 3}


def test_report_is_the_files(checkpoint, wsic, tmp_path):
    out, report = tmp_path / "out.wsic", tmp_path / "run.json"
    events = []
    figures = watersic.quantize(checkpoint, out, report=report, progress=events.append, **OPTIONS)
    assert figures == json.loads(report.read_text())
    assert figures["totals"]["file_bytes"] == out.stat().st_size
    assert figures["totals"]["bits"]["file"] == pytest.approx(3, abs=0.2)
    assert out.read_bytes() == wsic.read_bytes()  # the same input, the same bytes
    assert {event.stage for event in events} >= {"quantizing"}
    assert all(0 <= event.done <= event.total for event in events if event.total)
    inspection = watersic.inspect(out)
    assert inspection["model_id"] == figures["model_id"]
    assert watersic.verify(out) is None


def test_options_of_the_command_line(checkpoint, tmp_path):
    plan = watersic.quantize(
        checkpoint, tmp_path / "no.wsic", bits=2, dry_run=True, calibration="none"
    )
    assert len(plan["layers"]) == 14 and {layer["bits"] for layer in plan["layers"]} == {2}
    sized = watersic.quantize(checkpoint, tmp_path / "no.wsic", size="700K", dry_run=True)
    assert sized["file_bytes"] == pytest.approx(700 * 1024, rel=0.1) and sized["peak_bytes"] > 0
    with pytest.raises(watersic.Error, match="memory"):
        watersic.quantize(checkpoint, tmp_path / "no.wsic", bits=2, memory="10M")
    assert not (tmp_path / "no.wsic").exists()
    text = tmp_path / "text.txt"
    text.write_text("It was the best of times, it was the worst of times. " * 40)
    figures = watersic.quantize(
        checkpoint,
        tmp_path / "a.wsic",
        bits=3,
        calibration=text,
        override=[r"down_proj:bits=4", r"layers\.0\.:damping=0.1"],
        keep=r"layers\.1\.self_attn\.k_proj",
        **QUICK | {"basis": "native"},
    )
    bits = {layer["name"]: layer["bits"]["file"] for layer in figures["layers"]}
    assert bits["model.layers.1.mlp.down_proj.weight"] == pytest.approx(4, abs=0.1)
    kept = [layer["name"] for layer in figures["layers"] if layer.get("kept")]
    assert kept == ["model.layers.1.self_attn.k_proj.weight"]


@pytest.mark.parametrize(
    "error, message, change",
    [
        (TypeError, "either bits or size", {"bits": None}),
        (TypeError, "either bits or size", {"size": "1M"}),
        (TypeError, "unexpected option 'colour'", {"colour": "red"}),
        (TypeError, "progress: expected a function", {"progress": 3}),
        (watersic.Error, "size: expected a number", {"bits": None, "size": "big"}),
        (watersic.Error, "samples: expected 1", {"samples": 0}),
        (watersic.Error, "basis: expected", {"basis": "mine"}),
        (watersic.Error, "no/model", {"model": "/no/model"}),
        (watersic.Error, "no/text", {"calibration": "/no/text"}),
        (watersic.Error, "no/report", {"report": "/no/report"}),
    ],
)
def test_what_makes_no_sense_is_refused(checkpoint, tmp_path, error, message, change):
    arguments = {"model": checkpoint, "output": tmp_path / "out.wsic"} | OPTIONS | change
    with pytest.raises(error, match=message):
        watersic.quantize(**arguments)
    assert not (tmp_path / "out.wsic").exists()


def test_callback_that_raises_stops_the_run_which_resumes(checkpoint, wsic, tmp_path):
    out = tmp_path / "out.wsic"

    def stop(event):
        if event.stage == "quantizing" and event.done == 1:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        watersic.quantize(checkpoint, out, progress=stop, **OPTIONS)
    assert not out.exists() and (tmp_path / "out.wsic.work").is_dir()
    watersic.quantize(checkpoint, out, resume=True, **OPTIONS)
    assert out.read_bytes() == wsic.read_bytes()
    assert not (tmp_path / "out.wsic.work").exists()


def test_interrupt_stops_the_run_which_resumes(checkpoint, wsic, tmp_path):
    """As Ctrl-C does it, in a process of its own."""
    program = textwrap.dedent(
        f"""
        import watersic
        def tell(event):
            if event.stage == "quantizing":
                print("quantizing", flush=True)
        try:
            watersic.quantize({str(checkpoint)!r}, {str(tmp_path / "out.wsic")!r}, progress=tell, **{OPTIONS!r})
        except KeyboardInterrupt as stop:
            print("stopped", getattr(stop, "__notes__", []))
        """
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "quantizing\n"
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    assert process.returncode == 0 and "stopped" in said
    if sys.version_info >= (3, 11):
        assert "out.wsic: stopped; a run with resume continues it" in said
    assert (tmp_path / "out.wsic.work").is_dir()
    watersic.quantize(checkpoint, tmp_path / "out.wsic", resume=True, **OPTIONS)
    assert (tmp_path / "out.wsic").read_bytes() == wsic.read_bytes()


def test_the_gil_is_released(checkpoint, tmp_path):
    done = threading.Event()
    thread = threading.Thread(
        target=lambda: (
            watersic.quantize(checkpoint, tmp_path / "out.wsic", **OPTIONS),
            done.set(),
        )
    )
    thread.start()
    turns = 0
    while not done.is_set() and thread.is_alive():
        turns += 1
        done.wait(0.001)
    thread.join()
    assert done.is_set() and turns > 20


def test_bars(checkpoint, tmp_path):
    tqdm = pytest.importorskip("tqdm", reason="needs tqdm")
    with open(os.devnull, "w") as nowhere, tqdm.tqdm(file=nowhere) as bar:
        watersic.quantize(checkpoint, tmp_path / "out.wsic", progress=bar, **OPTIONS)
        assert bar.n == bar.total and bar.n > 0


def test_evaluate_export_finetune(checkpoint, wsic, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("It was the best of times, it was the worst of times. " * 40)
    result = watersic.evaluate(wsic, text, reference=checkpoint, context=64, threads=1)
    assert result["kl_bits"] > 0 and result["context"] == 64
    with pytest.raises(watersic.Error, match="expected hf or llama.cpp"):
        watersic.evaluate(wsic, text, convention="mine")
    with pytest.raises(watersic.Error, match="context: expected 0"):
        watersic.evaluate(wsic, text, context=-1)

    watersic.export(wsic, tmp_path / "folder", to="safetensors", dtype="f32")
    same = watersic.evaluate(wsic, text, reference=tmp_path / "folder", context=64)
    assert same["kl_bits"] < 1e-8
    watersic.export(wsic, tmp_path / "out.gguf", to="gguf", dtype="f32")
    assert watersic.load(tmp_path / "out.gguf").vocabulary == 4096
    with pytest.raises(watersic.Error, match="to: expected safetensors or gguf"):
        watersic.export(wsic, tmp_path / "x", to="onnx")

    better = watersic.finetune(
        wsic,
        tmp_path / "better.wsic",
        reference=checkpoint,
        calibration=text,
        samples=4,
        held_out=2,
        sequence_length=32,
        epochs=1,
        batch=2,
    )
    assert better["kl_bits_after"] <= better["kl_bits_before"]
    with pytest.raises(watersic.Error, match="epochs: expected 1"):
        watersic.finetune(wsic, tmp_path / "b.wsic", reference=checkpoint, epochs=0)


def test_tasks(checkpoint, tmp_path):
    data = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "tasks"
    picks = tmp_path / "picks.csv"
    result = watersic.run_task(
        checkpoint, "multiple-choice", data / "questions.jsonl", limit=3, picks=picks
    )
    assert result["questions"] == 3 and 0 <= result["acc"] <= 1
    assert len(picks.read_text().splitlines()) == 4
    with pytest.raises(watersic.Error, match="expected hellaswag or mmlu"):
        watersic.run_task(checkpoint, "trivia", data)


def test_damage_is_named(wsic, tmp_path):
    broken = tmp_path / "broken.wsic"
    content = bytearray(wsic.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    with pytest.raises(watersic.Error, match="broken.wsic"):
        watersic.verify(broken)
    for size in (0, 10, len(content) // 2):
        broken.write_bytes(content[:size])
        for look in (watersic.verify, watersic.inspect, watersic.load):
            with pytest.raises(watersic.Error, match="broken.wsic"):
                look(broken)
