import sys,ast,pathlib
sys.path.insert(0,'/tmp/ren')
from names import *
ROOT=pathlib.Path(sys.argv[1])
ALL={**TRAIN,**START,**MODEL,**SAMPLING}
for p in sorted(ROOT.glob('tests/**/*.py')):
    src=p.read_text(); tree=ast.parse(src); lines=src.split('\n'); edits=[]
    local={n.name:n for n in ast.walk(tree) if isinstance(n,ast.FunctionDef) and n.args.kwarg}
    cf=[q for q in [p.parent/'conftest.py',ROOT/'tests/conftest.py'] if q.exists()]
    for q in cf:
        for n in ast.walk(ast.parse(q.read_text())):
            if isinstance(n,ast.FunctionDef) and n.args.kwarg: local.setdefault(n.name,n)
    for n in ast.walk(tree):
        if isinstance(n,ast.Call):
            name=getattr(n.func,'id',None)
            d=local.get(name)
            if d is None and not (name=='dict'): continue
            own={a.arg for a in d.args.args+d.args.kwonlyargs} if d else set()
            for k in n.keywords:
                if k.arg in ALL and k.arg not in own and not (name=='dict' and k.arg in ('rows','time')): edits.append((k.lineno,k.col_offset,k.arg))
    for l,c,a in sorted(edits,reverse=True):
        b=lines[l-1].encode(); assert b[c:c+len(a)].decode()==a
        lines[l-1]=(b[:c]+ALL[a].encode()+b[c+len(a):]).decode()
        print(p.relative_to(ROOT),l,lines[l-1].strip()[:120])
    if edits: p.write_text('\n'.join(lines))
