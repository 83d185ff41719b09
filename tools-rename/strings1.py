"""Second pass: settings in strings, docstrings, docs and recipes."""
import sys,ast,re,io,tokenize,pathlib
sys.path.insert(0,'/tmp/ren')
from names import *
ROOT=pathlib.Path(sys.argv[1])
UNION={**TRAIN,**START,**TF,**MASKED,**RNN,**VAE,**GAN}
UNION.pop('window')
EQ={k:v for k,v in {**UNION,**SAMPLING}.items()}
TABLE={'train':('train',TRAIN),'model':('model',MODEL),'start':('init',START),'prior':('ngram_prior',PRIOR)}
eq=re.compile(r'(?<![\w.\-/{%])('+'|'.join(sorted(EQ,key=len,reverse=True))+r')(?==(?![="]))')
dotted=re.compile(r'(?<![\w.\-/{(])(train|model|start|prior)\.([a-z_]+)\b(?![.\w(])')
flags={'--gap':'--gap-tokens','--depth':'--max-depth','--diversity':'--diversity-penalty','--length-form':'--length-penalty-form'}
flag=re.compile(r'(?<![\w-])(--gap|--depth|--diversity|--length-form)(?![\w-])')
def counts(m): 
    v=m.group(2); return 'ngram_prior.enabled='+{'ngram':'true','none':'false','auto':'null'}[v]
START_ALL={'base','encoder','decoder','lora','alpha','targets','blocks','thaw','vectors'}
def text(s):
    s=re.sub(r'(?<![\w.\-])(prior\.)?counts=(ngram|none|auto)\b',counts,s)
    s=re.sub(r'(?<![\w.\-])(prior\.)?orders=','ngram_prior.order=',s)
    s=re.sub(r'(?<![\w.\-])(prior\.)parts=','ngram_prior.folds_used=',s)
    s=re.sub(r'(?<![\w.\-])parts=(?=\d)','ngram_prior.folds_used=',s)
    def d(m):
        t,k=m.groups(); new,names=TABLE[t]
        if t=='start' and k not in START_ALL: return m.group(0)
        if t=='prior' and k not in ('counts','orders','parts','folds','extensible','breaks'): return m.group(0)
        return f'{new}.{names.get(k,k)}'
    s=dotted.sub(d,s)
    s=eq.sub(lambda m:EQ[m.group(1)],s)
    return flag.sub(lambda m:flags[m.group(1)],s)
# dict keys that are settings: everywhere, but for these
NOTKEYS={('benchmarks/common.py','rows'),('benchmarks/onnx_step.py','rows'),('benchmarks/rules_speed.py','time'),('src/wenmo/apps/cli/show.py','time'),('src/wenmo/apps/cli/show.py','evaluations'),('benchmarks/budget.py','evaluations'),('src/wenmo/interchange/onnx.py','context'),('src/wenmo/interchange/onnx.py','rows'),('src/wenmo/models/blocks.py','width'),('src/wenmo/models/blocks.py','epsilon'),('src/wenmo/models/blocks.py','head_width'),('src/wenmo/session.py','time'),('src/wenmo/session.py','evaluations'),('src/wenmo/session.py','parts'),('src/wenmo/text/telling.py','rows'),('benchmarks/pairs_speed.py','width'),('src/wenmo/models/recurrent.py','hidden'),('benchmarks/vae_ptb.py','counts'),('tests/apps/test_pretrained.py','rows'),('tests/interchange/test_onnx.py','rows'),('tests/interchange/test_onnx.py','time'),('tests/evaluation/test_likelihood.py','rows'),('tests/evaluation/test_verdict.py','ahead'),('tests/evaluation/test_verdict.py','counts'),('tests/text/test_batches.py','rows'),('tests/text/test_batches.py','time'),('tests/test_plan.py','rows'),('src/wenmo/models/hybrid.py','counts'),('tests/text/test_known_formats.py','context')}
SKIPKEYS={'targets','alpha','base'}
KEYS={**UNION,**SAMPLING}
# strings in tuples and sets that are settings: (file, line contains)
TUPLES=[('src/wenmo/training/loop.py','for name in ('),('src/wenmo/models/gan.py','for name in ('),('src/wenmo/models/gan.py','sizes = ('),('src/wenmo/models/vae.py','sizes = ('),('src/wenmo/models/vae.py','for name in ('),('src/wenmo/models/vae.py','for name, '),('src/wenmo/models/gan.py','for name'),('src/wenmo/models/seq2seq.py','names = ('),('src/wenmo/models/transformer.py','OWN = {'),('src/wenmo/models/transformer.py','for name'),('src/wenmo/models/recurrent.py','for name'),('src/wenmo/models/recurrent.py','sizes'),('src/wenmo/models/seq2seq.py','for name'),('src/wenmo/decoding/effects.py',''),('src/wenmo/decoding/warp.py',''),('src/wenmo/pace.py','"rows"'),('src/wenmo/pace.py','"time"'),('tests/decoding/test_warp.py','"diversity"'),('tests/decoding/test_warp.py','"length_form"'),('tests/decoding/test_warp.py','"gap"')]
DOC=re.compile(r'^(\s+)([a-z_]+(?:, [a-z_]+)*):',re.M)
CLASSES={'TrainConfig':TRAIN,'NgramPriorConfig':PRIOR,'InitConfig':START,'Sampling':SAMPLING}
CONFIGS={'transformer':TF,'masked':{**TF,**MASKED},'recurrent':RNN,'seq2seq':RNN,'vae':VAE,'gan':GAN}
def python(path):
    rel=str(path.relative_to(ROOT)); src=path.read_text('utf-8'); lines=src.split('\n')
    edits=[] # (line, col, endline, endcol, new)
    tree=ast.parse(src)
    keys=set(); docs={}
    for n in ast.walk(tree):
        if isinstance(n,ast.Dict):
            for k in n.keys:
                if isinstance(k,ast.Constant) and isinstance(k.value,str): keys.add((k.lineno,k.col_offset))
        if isinstance(n,ast.ClassDef) and ast.get_docstring(n):
            m=CLASSES.get(n.name)
            if n.name=='Config': m=CONFIGS.get(path.stem)
            if m: docs[n.body[0].value.lineno]=m
    out=[]
    for tok in tokenize.generate_tokens(io.StringIO(src).readline):
        if tok.type!=tokenize.STRING: continue
        s=tok.string; new=text(s)
        (l,c)=tok.start
        m=re.fullmatch(r'"([a-z_]+)"',s)
        col=len(lines[l-1][:c].encode())
        if m and m.group(1) in KEYS:
            w=m.group(1)
            iskey=(l,col) in keys and (rel,w) not in NOTKEYS and w not in SKIPKEYS
            istuple=any(rel==f and x in lines[l-1] for f,x in TUPLES)
            if iskey or istuple: new=f'"{KEYS[w]}"'
        if m and m.group(1)=='counts' and (l,col) in keys and (rel,'counts') not in NOTKEYS:
            new='"ngram_prior.enabled"'
        if l in docs:
            mp=docs[l]
            new=DOC.sub(lambda k:k.group(1)+', '.join(mp.get(x,x) for x in k.group(2).split(', '))+':',new)
        if rel=='src/wenmo/recipe_effects.py' or rel.endswith('decoding/effects.py'):
            if re.fullmatch(r'"[a-z_0-9 ]+"',s):
                new='"'+' '.join(SAMPLING.get(x,x) for x in new[1:-1].split(' '))+'"' if rel.endswith('decoding/effects.py') else new
        if new!=s: out.append((tok.start,tok.end,new))
    for (l1,c1),(l2,c2),new in reversed(out):
        first=lines[l1-1][:c1]; last=lines[l2-1][c2:]
        lines[l1-1:l2]=(first+new+last).split('\n')
    res='\n'.join(lines)
    if res!=src: path.write_text(res,'utf-8')
for p in sorted(ROOT.glob('src/**/*.py'))+sorted(ROOT.glob('tests/**/*.py'))+sorted(ROOT.glob('benchmarks/*.py')): python(p)
# docs
SPAN={k:v for k,v in {**UNION,**SAMPLING}.items() if k not in ('time','targets','alpha','blocks','average','floor','likelihood','depth','shared','rate','rows','context','hidden','embedding','width','decay','ahead','gap','scaled','views','latent','spread','diversity','vectors','rise')}
toml=re.compile(r'(?m)^((?:train|model|start|prior)?\.?)('+'|'.join(sorted({**TRAIN,**START},key=len,reverse=True))+r')( = )')
for p in [*ROOT.glob('docs/*.md'),*ROOT.glob('README*.md'),*ROOT.glob('CONTRIBUTING.md'),*ROOT.glob('recipes/*.toml'),ROOT/'Makefile']:
    s=p.read_text('utf-8'); new=text(s)
    if p.suffix=='.toml':
        new=toml.sub(lambda m:m.group(1)+{**TRAIN,**START}[m.group(2)]+m.group(3),new)
        new=re.sub(r'(?<=[{,] )('+'|'.join(MODEL)+r')(?= = )',lambda m:MODEL[m.group(1)],new)
        new=re.sub(r'(?m)^\[prior\]',"[ngram_prior]",new); new=re.sub(r'(?m)^\[start\]',"[init]",new)
        new=re.sub(r'(?m)^prior\b','ngram_prior',new)
        new=re.sub(r'(?<=model\.)('+'|'.join(MODEL)+r')(?= = )',lambda m:MODEL[m.group(1)],new)
    else:
        new=re.sub(r'`('+'|'.join(SPAN)+r')`',lambda m:f'`{SPAN[m.group(1)]}`',new)
        new=new.replace('begin(batch_size=1)','begin(rows=1)')
        own={'models.md':{**MODEL},'training.md':TRAIN,'pretrained.md':START,'decoding.md':SAMPLING}.get(p.name)
        if own:
            def each(m):
                return ', '.join(f'`{own.get(x.strip("` "),x.strip("` "))}`' for x in m.group(1).split(','))
            new=re.sub(r'(?m)^\| ((?:`[a-z_0-9]+`(?:, )?)+) \|',lambda m:'| '+each(m)+' |',new)
            ex={'models.md':('context','width','embedding','tied','hidden','latent','views','ahead','rise','spread','scaled','shared','likelihood'),'training.md':('rows','time','rate','floor','decay','average'),'pretrained.md':('lora','alpha','targets','blocks','thaw'),'decoding.md':('gap','depth','diversity')}[p.name]
            new=re.sub('`('+'|'.join(ex)+')`',lambda m:f'`{own[m.group(1)]}`',new)
            if p.name=='models.md': # the settings of what a network stands on
                new=re.sub(r'(?m)^\| `counts` \|','| `enabled` |',new)
                new=re.sub(r'(?m)^\| `orders` \|','| `order` |',new)
                new=re.sub(r'(?m)^\| `parts` \|','| `folds_used` |',new)
    if new!=s: p.write_text(new,'utf-8')
