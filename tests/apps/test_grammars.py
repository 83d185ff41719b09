"""Grammars on the command line: generation, scoring, training, and constraints on models."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

import wenmo as package

STORY = {
    "origin": "#[hero:#name#]story#",
    "name": ["Ann", "小明"],
    "story": {"#hero# saw #animal.a#.": 3, "#hero#看见了#animal#。": 1},
    "animal": ["owl", "cat"],
}
CHINESE = """
start = "句"
[rules]
"句" = ["我看见#数##@.量##名@#。", { text = "老师说：“#句#”", weight = 0.5 }]
"数" = ["一", "三"]
"名" = [{ text = ["猫", "狗"], "量" = "只" }, { text = "书", "量" = "本", weight = 2 }]
"""
POEMS = """
start = "诗"
[rules]
"诗" = "#上#，#下#。"
"上" = ["春眠不觉晓", "夜来风雨声", "The quick brown fox"]
"下" = ["处处闻啼鸟", "花落知多少"]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "story.json").write_text(json.dumps(STORY))
    (tmp_path / "zh.toml").write_text(CHINESE, encoding="utf-8")
    (tmp_path / "poems.toml").write_text(POEMS, encoding="utf-8")
    texts = ["我看见一只猫。"] * 30 + ["我看见三本书。"] * 20 + ["老师说：“我看见一只狗。”"] * 10
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return tmp_path


def outputs(done) -> list[dict]:
    return json.loads(done.stdout)["outputs"]


def test_generation(wenmo, folder):
    done = wenmo("generate", "story.json", "--seed", 0, "-n", 10, cwd=folder)
    assert done.stdout.splitlines()[0] == "[1]"
    texts = done.stdout.splitlines()[1::2]
    assert len(texts) == 10
    one = wenmo("generate", "story.json", "--seed", 0, cwd=folder).stdout.strip()
    assert one == texts[0]
    results = outputs(wenmo("generate", "story.json", "--seed", 0, "-n", 10, "--json", cwd=folder))
    assert [each["text"] for each in results] == texts
    other = wenmo("generate", "story.json", "--seed", 0, "-n", 10, "--seed", 1, cwd=folder).stdout
    assert other.splitlines()[1::2] != texts


def test_derivations(wenmo, folder):
    [results] = outputs(wenmo("generate", "story.json", "--seed", 0, "--json", cwd=folder))
    tree = results["derivation"]
    assert tree["rule"] == "origin"
    assert tree["text"] == results["text"]
    assert [inner["rule"] for inner in tree["inside"]] == ["name", "story"]
    assert results["stopped_by"] == "end"
    assert results["tokens"] == len(results["text"]) + 1
    assert math.exp(results["logprob"]) == pytest.approx(0.5 * 0.75 * 0.5, rel=1e-4)
    shown = wenmo("generate", "zh.toml", "--seed", 0, "-n", 2, "--derivations", cwd=folder).stdout
    assert "数" in shown
    assert "└──" in shown


def test_prompts_and_beam_search(wenmo, folder):
    command = ("generate", "zh.toml", "--seed", 0, "--json")
    results = outputs(wenmo(*command, "-p", "我看见三", "-n", 30, cwd=folder))
    assert {each["text"] for each in results} == {"只猫。", "只狗。", "本书。"}
    beam = outputs(wenmo(*command, "--method", "beam", "-n", 3, cwd=folder))
    assert [each["text"] for each in beam[:2]] == ["我看见一本书。", "我看见三本书。"]
    assert beam[0]["logprob"] == pytest.approx(math.log(2 / 3 / 4), rel=1e-4)
    wrong = wenmo("generate", "zh.toml", "--seed", 0, "-p", "他看见", cwd=folder, code=2)
    assert "no text that begins like the prompt" in wrong.stderr
    assert wrong.stdout == ""


def test_the_uniform_method_weighs_derivations_equally(wenmo, folder):
    command = ("generate", "zh.toml", "--seed", 0, "--method", "uniform", "-n", 400, "--json")
    done = wenmo(*command, "--max-depth", 3, cwd=folder)
    counts = Counter(each["text"] for each in outputs(done))
    assert len(counts) == 12  # two numbers, three nouns, with and without the teacher
    assert max(counts.values()) < 60
    assert "give the depth" in wenmo(*command, cwd=folder, code=2).stderr


def test_evaluation_and_explanation(wenmo, folder):
    result = json.loads(wenmo("evaluate", "zh.toml", "texts.txt", "--json", cwd=folder).stdout)
    n = {"cat": math.log(2 / 3 / 2 / 4), "book": math.log(2 / 3 / 2 / 2)}
    nats = -(30 * n["cat"] + 20 * n["book"] + 10 * (math.log(1 / 3) + n["cat"]))
    assert result["nats_per_token"] * result["tokens"] == pytest.approx(nats)
    (folder / "other.txt").write_text("我看见一只书。\n", encoding="utf-8")
    result = json.loads(wenmo("evaluate", "zh.toml", "other.txt", "--json", cwd=folder).stdout)
    assert result["bits_per_byte"] is None
    assert "impossible" in wenmo("evaluate", "zh.toml", "other.txt", cwd=folder).stdout
    rows = json.loads(wenmo("explain", "zh.toml", "我看见一只书。", "--json", cwd=folder).stdout)
    by_token = {row["token"]: row for row in rows["tokens"]}
    assert by_token["书"]["probability"] == 0
    assert by_token["一"]["mixture_components"][0]["share"] == 1 or any(
        component["name"] == "数" and component["share"] == 1
        for component in by_token["一"]["mixture_components"]
    )


def test_training(wenmo, folder):
    before = json.loads(wenmo("evaluate", "zh.toml", "texts.txt", "--json", cwd=folder).stdout)
    command = ("train", "texts.txt", "--unit", "line", "--model", "grammar", "--out", "run")
    wenmo(*command, "grammar=zh.toml", "prior=0.1", cwd=folder)
    (folder / "zh.toml").unlink()  # the run has its own
    result = json.loads(wenmo("evaluate", "run", "texts.txt", "--json", cwd=folder).stdout)
    assert result["bits_per_byte"] < before["bits_per_byte"]
    run = package.load(folder / "run")
    texts = Counter(run.generate(seed=0, n=300))
    assert texts["我看见一只猫。"] > 60
    assert texts["我看见三本书。"] < texts["我看见一只猫。"]
    wenmo("generate", "run", "--seed", 0, "-n", 2, "--derivations", cwd=folder)
    wenmo("export", "run", "--to", "grammar", "--out", "learnt.toml", cwd=folder)
    again = json.loads(wenmo("evaluate", "learnt.toml", "texts.txt", "--json", cwd=folder).stdout)
    assert again["bits_per_byte"] == pytest.approx(result["bits_per_byte"], rel=1e-6)
    further = wenmo(
        "train", "texts.txt", "--unit", "line", "--from", "learnt.toml", "--out", "more", cwd=folder
    )
    assert "held out" in further.stdout
    assert "trained already" in wenmo(*command, "grammar=zh.toml", "prior=0.1", cwd=folder).stderr


def test_a_grammar_constrains_other_models(wenmo, runs, folder):
    poems = {
        f"{a}，{b}。"
        for a in ("春眠不觉晓", "夜来风雨声", "The quick brown fox")
        for b in ("处处闻啼鸟", "花落知多少")
    }
    for name in ("ngram", "lstm", "gpt"):
        command = ("generate", runs[name], "--grammar", "poems.toml", "-n", 3, "--json")
        results = outputs(wenmo(*command, cwd=folder))
        assert {each["text"] for each in results} <= poems
        assert all(each["stopped_by"] in ("end", "constraint") for each in results)
    command = ("generate", runs["lstm"], "--seed", 0, "--grammar", "poems.toml", "--prompt", "看：")
    assert wenmo(*command, cwd=folder).stdout.strip().removeprefix("看：") in poems
    assert wenmo(*command, "--method", "beam", cwd=folder).stdout.strip()[2:] in poems


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("generate none.json", "none.json: no such file"),
        ("generate wrong.json", "wrong.json: rule 'origin' calls #nmae#: no such rule"),
        ("generate loop.toml", "loop.toml: rule 'a' never ends"),
        ("generate LSTM --method uniform", "method uniform is for texts that a grammar writes"),
        ("generate LSTM --max-depth 3", "depth is for texts that a grammar writes"),
        ("generate zh.toml --max-depth 0", "'--max-depth': must be from 1 to 200"),
        ("generate zh.toml -p 我 --method uniform", "without a prompt"),
        ("generate LSTM --grammar none.toml", "none.toml: no such file"),
        ("generate LSTM --grammar endless.json", "their probabilities cannot be computed"),
        ("evaluate endless.json texts.txt", "their probabilities cannot be computed"),
        ("evaluate zh.toml texts.txt --window 5", "leave --window and --stride out"),
        ("evaluate zh.toml texts.txt --dynamic 0.1", "leave --dynamic out"),
        ("chat zh.toml", "train a run with --task dialogue"),
        ("export zh.toml --to gguf --out x", "GGUF files support only"),
        ("export LSTM --to grammar --out x.toml", "support only grammars"),
        ("train texts.txt --model grammar --out run", "no grammar: say which"),
        ("train texts.txt --model grammar grammar=none.toml --out run", "no such file"),
        ("train texts.txt --model grammar grammar=zh.toml --out run", "say --unit line"),
        ("train texts.txt --model grammar grammar=endless.json --out run", "cannot be computed"),
        (
            "train texts.txt --model grammar grammar=zh.toml prior=-1 --out run",
            "prior must be at least 0",
        ),
        (
            "train texts.txt --model grammar grammar=zh.toml --tokenizer words --out run",
            "--tokenizer characters or bytes",
        ),
        (
            "train texts.txt --model grammar grammar=poems.toml --unit line --out run",
            "cannot generate the text",
        ),
    ],
)
def test_invalid_commands(wenmo, runs, folder, command, message):
    (folder / "wrong.json").write_text('{"origin": "#nmae#", "name": "x"}')
    (folder / "loop.toml").write_text('[rules]\norigin = "#a#"\na = "#a#b"')
    (folder / "endless.json").write_text('{"origin": "[x:#y#]#x#", "y": ["a", "a#y#"]}')
    before = {path.name for path in folder.iterdir()}
    arguments = [str(runs["lstm"]) if word == "LSTM" else word for word in command.split()]
    done = wenmo(*arguments, cwd=folder, code=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert {path.name for path in folder.iterdir()} == before


def test_from_python(folder):
    run = package.load(folder / "story.json")
    assert set(run.generate(seed=0, n=200)) == {
        f"{hero}{rest}"
        for hero in ("Ann", "小明")
        for rest in (" saw an owl.", " saw a cat.", "看见了owl。", "看见了cat。")
    }
    assert run.generate(seed=0, n=3) == run.generate(seed=0, n=200)[:3]
    [[output]] = run.write([""], seed=0)
    assert output.derivation.text == output.text
    assert run.generate(seed=0, n=2, stop=["看", " "]) == [
        text.split(" ")[0].split("看")[0] for text in run.generate(seed=0, n=2)
    ]
    assert [len(text) for text in run.generate(seed=0, n=2, max_tokens=2)] == [2, 2]
