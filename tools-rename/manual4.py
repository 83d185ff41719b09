def sub(path, *pairs):
    s=open(path).read()
    for a,b in pairs:
        if a not in s: print('MISSING',path,a[:60]); continue
        s=s.replace(a,b,1)
    open(path,'w').write(s)
sub('src/wenmo/evaluation/latents.py',('"free_bits= or word_dropout=, let the weight rise more slowly (annealing_ratio=, annealing=cyclical), "\n        "','"free_bits= or word_dropout=, let the weight rise more slowly (annealing_ratio=, "\n        "annealing=cyclical), '))
sub('src/wenmo/recipe_effects.py',('''        "train.steps train.minutes train.gradient_accumulation train.optimizer train.learning_rate train.weight_decay "
        "train.schedule train.warmup_ratio train.weight_averaging train.label_smoothing train.max_grad_norm "
        "train.precision''','''        "train.steps train.minutes train.gradient_accumulation train.optimizer "
        "train.learning_rate train.weight_decay train.schedule train.warmup_ratio "
        "train.weight_averaging train.label_smoothing train.max_grad_norm "
        "train.precision'''))
sub('src/wenmo/text/pairs.py',('''raise context_length=, or give "
''','''raise "
                "context_length=, or give "
'''))
sub('src/wenmo/training/loop.py',('''f"smaller learning_rate= (it began with {self.config.optimizer}'s), a smaller max_grad_norm= or "''','''f"smaller learning_rate= (it began with {self.config.optimizer}'s), a smaller "
                "max_grad_norm= or "'''))
