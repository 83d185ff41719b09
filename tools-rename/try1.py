import sys; sys.path.insert(0,'/tmp/ren')
from lsp import run
print(run('/tmp/ren/scratch','/work/main/.venv/bin/python',[('src/wenmo/training/loop.py','TrainConfig.rate','learning_rate'),('src/wenmo/models/transformer.py','Transformer.Config.width','hidden_size')]))
