def sub(path, *pairs):
    s=open(path).read()
    for a,b in pairs:
        assert a in s, (path, a)
        s=s.replace(a,b,1)
    open(path,'w').write(s)
sub('src/wenmo/start.py',('raise WenmoError(f"prior.{name} of {run} is {dumps(value)}: leave prior.{name} out")','setting = f"ngram_prior.{name}"\n            raise WenmoError(f"{setting} of {run} is {dumps(value)}: leave {setting} out")'))
sub('src/wenmo/folders.py',
('''        if isinstance(row, dict):
            rows.append(row)
    return rows
''','''        if isinstance(row, dict):
            if "rate" in row:  # as format 1 calls it
                row["learning_rate"] = row.pop("rate")
            rows.append(row)
    return rows
'''))
s=open('src/wenmo/config.py').read()
a=s.index('def unknown('); b=s.index('def _offer(')
print(s[a:b])
s=s.replace('''    """The error of a setting that does not exist."""
''','''    """The error of a setting that does not exist; one that was renamed is told its new name."""
    if now := new_name(key):
        return WenmoError(f"unknown setting {key!r}: it is called {now} now")
''',1)
s=s.replace('from wenmo.types import WenmoError\n','from wenmo.format1 import new_name\nfrom wenmo.types import WenmoError\n',1)
s=s.replace('''    known = [name for names in tables.values() for name in names]
    valid =''','''    known = [name for names in tables.values() for name in names]
    if now := new_name(key):
        raise WenmoError(f"unknown setting {key!r}: it is called {now} now")
    valid =''',1)
open('src/wenmo/config.py','w').write(s)
sub('src/wenmo/recipe.py',('    return family and str(family), as_settings(_flat(content))','    return family and str(family), [*map(convert_setting, as_settings(_flat(content)))]'),
('from wenmo.models import MODELS','from wenmo.format1 import convert_setting\nfrom wenmo.models import MODELS'))
sub('src/wenmo/apps/cli/main.py',('        "ngram_prior.enabled": prior,\n','        "ngram_prior.enabled": prior and _enabled(prior),\n'))
s=open('src/wenmo/apps/cli/main.py').read()
i=s.index('\n\n@app.command()\ndef train(')
s=s[:i]+'''

PRIORS = {"ngram": "true", "none": "false", "auto": "null"}


def _enabled(prior: str) -> str:
    """The value of ``ngram_prior.enabled`` that ``--prior`` asks for."""
    known = match(prior, PRIORS)
    if known is None:
        raise WenmoError(f"--prior {prior}: choose one of {', '.join(PRIORS)}")
    return PRIORS[known]
'''+s[i:]
open('src/wenmo/apps/cli/main.py','w').write(s)
