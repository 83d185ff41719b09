def sub(path, *pairs):
    s=open(path).read()
    for a,b in pairs:
        assert a in s, (path, a)
        s=s.replace(a,b,1)
    open(path,'w').write(s)
sub('src/wenmo/recipe.py',
('''        enabled: ngram, counts of the training text; none; or auto: what suits the text and the time.
''','''        enabled: whether n-gram counts of the training text stand beside it; null: where they suit
            the text and the time.
'''),
('    enabled: Literal["auto", "none", "ngram"] = "auto"\n','    enabled: bool | None = None\n'),
('names = ("model", "prior", "start", "task"','names = ("model", "ngram_prior", "init", "task"'),
('from_dict(NgramPriorConfig, tables.get("prior", {"ngram_prior.enabled": False}), where="prior.")','from_dict(\n                NgramPriorConfig, tables.get("ngram_prior", {"enabled": False}), where="ngram_prior."\n            )'),
('from_dict(InitConfig, tables.get("start", {}), where="start.")','from_dict(InitConfig, tables.get("init", {}), where="init.")'),
('        start: what training begins from.\n        prior: what it stands on.\n','        init: what training begins from.\n        ngram_prior: the counts that it stands on.\n'),
)
sub('src/wenmo/outline.py',('"prior": ("recipe.py", "PriorConfig")','"ngram_prior": ("recipe.py", "NgramPriorConfig")'),('"start": ("recipe.py", "StartConfig")','"init": ("recipe.py", "InitConfig")'))
sub('src/wenmo/folders.py',('TABLES = ("model", "prior", "start",','TABLES = ("model", "ngram_prior", "init",'),('FORMAT = 1  #','FORMAT = 2  #'),
('''        raise WenmoError(f"{folder / CARD}: damaged, {missing[0]!r} is missing")
    return content
''','''        raise WenmoError(f"{folder / CARD}: damaged, {missing[0]!r} is missing")
    return convert_card(content) if content["format"] == 1 else content
'''),
('from wenmo.files import','from wenmo.files import'),
('from wenmo.locks','from wenmo.format1 import convert_card\nfrom wenmo.locks'))
sub('src/wenmo/further.py',('"model.", "prior.",','"model.", "ngram_prior.",'))
