"""Chat templates of pretrained models: training, resuming, evaluation, chat and export."""

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
    """A small Llama with random weights and the files of a chat model."""
    settings = {"max_position_embeddings": 256, "initializer_range": 0.2}
    ends = {"bos_token_id": 256, "eos_token_id": [256, 258]}
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    folder: Path = make_llama(tmp_path_factory.mktemp("base") / "llama", marks, **settings, **ends)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("conversations") / "conversations.jsonl"
    turns = [[f"你好，{n}！", "Hello.", "Say <|im_end|>", f"再见，{n}。"] for n in range(30)]
    lines = [json.dumps({"turns": conversation}, ensure_ascii=False) for conversation in turns]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(wenmo: Any, base: Path, conversations: Path) -> Path:
    folder = conversations.parent / "run"
    wenmo(*command(conversations, base, folder), cwd=conversations.parent)
    return folder


def command(conversations: Path, base: Path, out: Path, *more: str) -> list[Any]:
    return [
        "train",
        conversations,
        "--task",
        "dialogue",
        "--from",
        base,
        "--out",
        out,
        *SHORT,
        *more,
    ]


def transformers_reply(folder: Path, turns: list[str]) -> str:
    """The greedy reply of `transformers`, with its own rendering of the template."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    written = model.generate(**inputs, max_new_tokens=24, do_sample=False, pad_token_id=0)
    reply = written[0, inputs["input_ids"].shape[1] :]
    return str(tokenizer.decode(reply, skip_special_tokens=True))


def wenmo_reply(run: Path, turns: list[str]) -> str:
    return "".join(package.load(run).reply(turns, method="greedy", max_tokens=24))


@pytest.mark.parametrize("settings", ["full", "adapters"])
def test_transformers_gives_the_same_replies(
    wenmo: Any, conversations: Path, trained: Path, tmp_path: Path, settings: str
) -> None:
    run = exported = trained
    if settings == "adapters":
        run, exported = tmp_path / "run", tmp_path / "merged"
        wenmo(
            *command(conversations, trained, run, "lora_rank=2", "learning_rate=0.001"),
            cwd=tmp_path,
        )
        assert json.loads((run / "tokenizer_config.json").read_text())["chat_template"] == TEMPLATE
        wenmo("export", run, "--to", "huggingface", "--out", exported, cwd=tmp_path)
    for turns in (["你好，7！"], ["你好，7！", "Hello.", "Say it"]):
        reply = wenmo_reply(run, turns)
        assert reply.isprintable()  # the training has had an effect
        assert transformers_reply(exported, turns) == reply


def test_chat_generate_and_evaluate_use_the_template(
    wenmo: Any, base: Path, conversations: Path, trained: Path
) -> None:
    run = package.load(trained)
    special_tokens = {"bos": [], "separator": [], "source_suffix": [0]}
    assert run.card.special_tokens == {**special_tokens, "eos": [256], "suppressed": []}
    [[output]] = run.write(["你好，3！"], method="greedy", max_tokens=24)
    assert output.text == wenmo_reply(trained, ["你好，3！"])
    figures = json.loads(
        wenmo("evaluate", trained, conversations, "--json", cwd=conversations.parent).stdout
    )
    held_out = run.card.results["heldout"]
    assert figures["pairs"] == 90
    assert figures["nats_per_token"] == pytest.approx(held_out["nats_per_token"], rel=0.2)
    [[continued]] = run.write(["你好，3！"], max_tokens=24, prefix="He", method="greedy")
    assert "He" + continued.text == output.text
    done = wenmo("chat", trained, cwd=conversations.parent, given="你好！\nSay <|im_end|>\n\n")
    assert done.stdout.count("> ") == 3
    sample = (trained / "samples.md").read_text(encoding="utf-8")
    assert "assistant" in sample


def test_evaluation_agrees_with_the_log_probability_of_a_reply(
    trained: Path, tmp_path: Path
) -> None:
    """Generation and evaluation agree on the probability of a reply."""
    run = package.load(trained)
    [[output]] = run.write(["你好，3！"], method="greedy", max_tokens=400)
    if output.stopped_by != "end":
        pytest.skip("with this processor's rounding the small model never ends its reply")
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"turns": ["你好，3！", output.text]}), encoding="utf-8")
    figures = run.evaluate(path)
    assert figures.tokens == output.tokens
    assert figures.nats_per_token * output.tokens == pytest.approx(-output.logprob, rel=1e-4)


class KilledError(Exception):
    """Stands for a signal that kills the training."""


def test_resuming_is_exact(base: Path, conversations: Path, tmp_path: Path) -> None:
    settings = {"steps": 10, "tokens_per_batch": 512, "eval_count": 2, "checkpoint_seconds": 0}

    def fit(out: Path, stop: int | None = None) -> None:
        def on_event(event: Event) -> None:
            if event.kind == "step" and event.state.step == stop:
                raise KilledError

        package.fit(
            conversations, task="dialogue", base=base, out=out, settings=settings, on_event=on_event
        )

    fit(tmp_path / "uninterrupted")
    for stop in (3, 7):
        with pytest.raises(KilledError):
            fit(tmp_path / "killed", stop)
    fit(tmp_path / "killed")
    uninterrupted, killed = (
        sorted((tmp_path / name / "checkpoints").glob("*.safetensors"))[-1]
        for name in ("uninterrupted", "killed")
    )
    assert uninterrupted.name == killed.name
    assert uninterrupted.read_bytes() == killed.read_bytes()


def test_a_chat_run_can_be_trained_on_plain_text_and_on_pairs(
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


def test_a_template_that_fails_is_reported(
    wenmo: Any, base: Path, conversations: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in base.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    template = (
        "{% if messages | length > 3 %}{{ raise_exception('too many') }}{% endif %}" + TEMPLATE
    )
    (broken / "chat_template.jinja").write_text(template, encoding="utf-8")
    stderr = wenmo(*command(conversations, broken, tmp_path / "run"), cwd=tmp_path, code=2).stderr
    assert "conversations.jsonl:1: the model's chat template cannot be used: too many" in stderr
    assert not (tmp_path / "run").exists()
