import sys,ast,pathlib
sys.path.insert(0,'/tmp/ren')
from names import *
ROOT=pathlib.Path(sys.argv[1])
ALL={**TRAIN,**START,**MODEL,**SAMPLING,'counts':'enabled','orders':'order','parts':'folds_used','prior':'ngram_prior','start':'init'}
SKIP={('tests/','base')}
for p in [*ROOT.glob('src/**/*.py'),*ROOT.glob('tests/**/*.py'),*ROOT.glob('benchmarks/*.py')]:
    src=p.read_text(); lines=src.split('\n'); edits=[]
    for n in ast.walk(ast.parse(src)):
        if isinstance(n,ast.Call) and isinstance(n.func,(ast.Name,ast.Attribute)) and (getattr(n.func,'id',None) or getattr(n.func,'attr',None))=='replace' and n.args:
            for k in n.keywords:
                if k.arg in ALL and not isinstance(n.func,ast.Attribute) or (k.arg in ALL and getattr(getattr(n.func,'value',None),'id','')=='dataclasses'):
                    edits.append((k.lineno,k.col_offset,k.arg))
    for l,c,a in sorted(edits,reverse=True):
        b=lines[l-1].encode(); assert b[c:c+len(a)].decode()==a
        lines[l-1]=(b[:c]+ALL[a].encode()+b[c+len(a):]).decode()
        print(p.relative_to(ROOT),l,a,'->',ALL[a],':',lines[l-1].strip()[:100])
    if edits: p.write_text('\n'.join(lines))
