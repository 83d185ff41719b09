"""The speed of writing that a run tells."""

from wenmo.pipeline.finish import writing_rate


def test_a_few_characters_tell_no_speed():
    assert writing_rate(["春眠不觉晓"] * 4, 4.0) is None
    assert writing_rate(["处处闻啼鸟夜来风雨声"] * 12, 4.0) == 30.0
