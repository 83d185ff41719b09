"""Conversations by a model's own chat template: learnt, resumed, judged, talked in, handed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wenmo as package
from wenmo.training.loop import Event

TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "{{ '<|im_start|>system\nKind.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHORT = ["--steps", 60, "tokens_per_batch=512", "eval_count=2", "learning_rate=0.01"]


@pytest.fixture(scope="module")
def base(make_llama: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama with random weights that was taught to talk, as far as its files tell."""
    settings = {"max_position_embeddings": 256, "initializer_range": 0.2}
    ends = {"bos_token_id": 256, "eos_token_id": [256, 258]}
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    folder: Path = make_llama(tmp_path_factory.mktemp("base") / "llama", marks, **settings, **ends)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("talks") / "talks.jsonl"
    turns = [[f"你好，{n}！", "Hello.", "Say <|im_end|>", f"再见，{n}。"] for n in range(30)]
    lines = [json.dumps({"turns": talk}, ensure_ascii=False) for talk in turns]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(wenmo: Any, base: Path, talks: Path) -> Path:
    folder = talks.parent / "run"
    wenmo(*command(talks, base, folder), cwd=talks.parent)
    return folder


def command(talks: Path, base: Path, out: Path, *more: str) -> list[Any]:
    return ["train", talks, "--task", "dialogue", "--from", base, "--out", out, *SHORT, *more]


def answers_there(folder: Path, turns: list[str]) -> str:
    """The greedy reply by `transformers`, through its own reading of the template."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)]
    asked = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**asked, max_new_tokens=24, do_sample=False, pad_token_id=0)
    reply = written[0, asked["input_ids"].shape[1] :]
    return str(tokenizer.decode(reply, skip_special_tokens=True))


def answers_here(run: Path, turns: list[str]) -> str:
    return "".join(package.load(run).reply(turns, method="greedy", max_tokens=24))


@pytest.mark.parametrize("way", ["full", "adapters"])
def test_other_programs_speak_with_it_as_it_was_trained(
    wenmo: Any, talks: Path, trained: Path, tmp_path: Path, way: str
) -> None:
    run = there = trained
    if way == "adapters":
        run, there = tmp_path / "run", tmp_path / "merged"
        wenmo(*command(talks, trained, run, "lora_rank=2", "learning_rate=0.001"), cwd=tmp_path)
        assert json.loads((run / "tokenizer_config.json").read_text())["chat_template"] == TEMPLATE
        wenmo("export", run, "--to", "huggingface", "--out", there, cwd=tmp_path)
    for turns in (["你好，7！"], ["你好，7！", "Hello.", "Say it"]):
        here = answers_here(run, turns)
        assert here.isprintable()  # it has learnt so much, at least
        assert answers_there(there, turns) == here


def test_the_same_form_everywhere(wenmo: Any, base: Path, talks: Path, trained: Path) -> None:
    run = package.load(trained)
    around = {"bos": [], "separator": [], "source_suffix": [0]}
    assert run.card.special_tokens == {**around, "eos": [256], "suppressed": []}
    [[output]] = run.write(["你好，3！"], method="greedy", max_tokens=24)
    assert output.text == answers_here(trained, ["你好，3！"])
    figures = json.loads(wenmo("evaluate", trained, talks, "--json", cwd=talks.parent).stdout)
    held_out = run.card.results["heldout"]
    assert figures["pairs"] == 90
    assert figures["nats_per_token"] == pytest.approx(held_out["nats_per_token"], rel=0.2)
    [[begun]] = run.write(["你好，3！"], max_tokens=24, prefix="He", method="greedy")
    assert "He" + begun.text == output.text
    told = wenmo("chat", trained, cwd=talks.parent, given="你好！\nSay <|im_end|>\n\n")
    assert told.stdout.count("> ") == 3
    sample = (trained / "samples.md").read_text(encoding="utf-8")
    assert "assistant" in sample


def test_a_reply_is_scored_as_it_is_written(trained: Path, tmp_path: Path) -> None:
    """What evaluation says of a written reply is what writing it said."""
    run = package.load(trained)
    [[output]] = run.write(["你好，3！"], method="greedy", max_tokens=400)
    if output.stopped_by != "end":
        pytest.skip("this machine's arithmetic makes the small model talk without end")
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"turns": ["你好，3！", output.text]}), encoding="utf-8")
    figures = run.evaluate(path)
    assert figures.tokens == output.tokens
    assert figures.nats_per_token * output.tokens == pytest.approx(-output.logprob, rel=1e-4)


class KilledError(Exception):
    """What ends a training without any warning."""


def test_it_resumes_exactly(base: Path, talks: Path, tmp_path: Path) -> None:
    settings = {"steps": 10, "tokens_per_batch": 512, "eval_count": 2, "checkpoint_seconds": 0}

    def fit(out: Path, stop: int | None = None) -> None:
        def on_event(event: Event) -> None:
            if event.kind == "step" and event.state.step == stop:
                raise KilledError

        package.fit(
            talks, task="dialogue", base=base, out=out, settings=settings, on_event=on_event
        )

    fit(tmp_path / "whole")
    for stop in (3, 7):
        with pytest.raises(KilledError):
            fit(tmp_path / "killed", stop)
    fit(tmp_path / "killed")
    whole, killed = (
        sorted((tmp_path / name / "checkpoints").glob("*.safetensors"))[-1]
        for name in ("whole", "killed")
    )
    assert whole.name == killed.name
    assert whole.read_bytes() == killed.read_bytes()


def test_a_run_that_talks_is_trained_on_plain_text_and_on_pairs(
    wenmo: Any, trained: Path, text: Path, tmp_path: Path
) -> None:
    wenmo(
        "train",
        text,
        "--from",
        trained,
        "--out",
        "plain",
        "--steps",
        3,
        "batch_size=2",
        "sequence_length=24",
        "eval_count=1",
        cwd=tmp_path,
    )
    assert package.load(tmp_path / "plain").card.special_tokens["separator"] == [0]
    pairs = "".join(f"source {n}\ttarget <|im_end|> {n}\n" for n in range(60))
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + pairs)
    command = ("train", "pairs.tsv", "--task", "translation", "--from", trained, "--out", "pairs")
    wenmo(*command, "--steps", 3, "tokens_per_batch=512", "eval_count=1", cwd=tmp_path)
    run = package.load(tmp_path / "pairs")
    assert run.model.special_tokens.separator == (0,)
    assert run.model.special_tokens.bos == ()


def test_what_cannot_be_is_told(wenmo: Any, base: Path, talks: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in base.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    template = (
        "{% if messages | length > 3 %}{{ raise_exception('too many') }}{% endif %}" + TEMPLATE
    )
    (broken / "chat_template.jinja").write_text(template, encoding="utf-8")
    told = wenmo(*command(talks, broken, tmp_path / "run"), cwd=tmp_path, code=2).stderr
    assert "talks.jsonl:1: the model's chat template cannot be used: too many" in told
    assert not (tmp_path / "run").exists()
