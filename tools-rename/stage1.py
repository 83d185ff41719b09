import sys,ast,re,io,tokenize,pathlib
sys.path.insert(0,'/tmp/ren')
from names import *
from lsp import run
ROOT=pathlib.Path(sys.argv[1]); PY='/work/main/.venv/bin/python'
def fields(path,cls,mapping):
    out=[]
    tree=ast.parse((ROOT/path).read_text())
    node=tree
    for part in cls.split('.'):
        node=next(b for b in node.body if isinstance(b,ast.ClassDef) and b.name==part)
    have={b.target.id for b in node.body if isinstance(b,ast.AnnAssign)}
    for old,new in mapping.items():
        if old in have: out.append((path,f'{cls}.{old}',new))
    return out
M='src/wenmo/models/'
ren=[]
ren+=fields('src/wenmo/training/loop.py','TrainConfig',TRAIN)
ren+=fields('src/wenmo/recipe.py','PriorConfig',PRIOR)+fields('src/wenmo/recipe.py','StartConfig',START)
ren+=[('src/wenmo/recipe.py','PriorConfig','NgramPriorConfig'),('src/wenmo/recipe.py','StartConfig','InitConfig'),('src/wenmo/recipe.py','Recipe.prior','ngram_prior'),('src/wenmo/recipe.py','Recipe.start','init')]
ren+=fields(M+'transformer.py','Transformer.Config',TF)+fields(M+'masked.py','Masked.Config',MASKED)
ren+=fields(M+'recurrent.py','Recurrent.Config',RNN)+fields(M+'seq2seq.py','Seq2seq.Config',RNN)
ren+=fields(M+'vae.py','Vae.Config',VAE)+fields(M+'gan.py','Gan.Config',GAN)
ren+=fields('src/wenmo/decoding/warp.py','Sampling',SAMPLING)
# the options of the command line
cli='src/wenmo/apps/cli/main.py'
for o,n in SAMPLING.items(): ren.append((cli,f'generate.{o}',n))
# symbols that are seen in several protocols
failed=run(ROOT,PY,[ren[0]]+ren) if False else run(ROOT,PY,ren)
print('FAILED',failed)
