def sub(path, *pairs):
    s=open(path).read()
    for a,b in pairs:
        if a not in s: print('MISSING',path,a[:70]); continue
        s=s.replace(a,b)
    open(path,'w').write(s)
sub('docs/models.md',('| `enabled` | `true` | keep how often','| `counts` | `true` | keep how often'),('| setting: `prior` |','| setting: `ngram_prior` |'),
('| `enabled` | `"auto"` | what `--prior` sets: `ngram`, `none`, or `auto` |','| `enabled` | `null` | whether counts stand beside the network: `--prior ngram` says `true`, `--prior none` `false`; null (`--prior auto`): where they suit the text and the time |'),
('each order up to `orders`,','each order up to `order`,'))
sub('tests/apps/test_counts.py',
('{"ngram_prior.enabled": True, "orders": 7, "folds": 5, "parts": 5,','{"enabled": True, "order": 7, "folds": 5, "folds_used": 5,'),
('{"ngram_prior.enabled": None, "orders": None, "folds": 5, "parts": None,','{"enabled": None, "order": None, "folds": 5, "folds_used": None,'),
('["enabled"] == "ngram"','["enabled"] is True'))
