"""Wrap lines that have become longer than 100 columns: entries of docstrings, comments, paragraphs."""
import sys,re,subprocess,textwrap,json,pathlib,ast
ROOT=pathlib.Path(sys.argv[1])
def issues():
    r=subprocess.run(['/work/main/.venv/bin/ruff','check','--select','E501','--output-format','json','.'],cwd=ROOT,capture_output=True,text=True)
    return [(x['filename'],x['location']['row']) for x in json.loads(r.stdout)]
def docspans(src):
    spans=[]
    for n in ast.walk(ast.parse(src)):
        if isinstance(n,(ast.Module,ast.ClassDef,ast.FunctionDef)) and n.body and isinstance(n.body[0],ast.Expr) and isinstance(n.body[0].value,ast.Constant) and isinstance(n.body[0].value.value,str):
            spans.append((n.body[0].lineno,n.body[0].end_lineno))
    return spans
done=set(); left=[]
for _ in range(400):
    todo=[x for x in issues() if x not in done]
    if not todo: break
    f,row=todo[0]
    p=pathlib.Path(f); src=p.read_text(); lines=src.split('\n'); spans=docspans(src)
    span=next((s for s in spans if s[0]<=row<=s[1]),None)
    line=lines[row-1]
    ind=re.match(r'\s*',line).group()
    if span:
        # an entry "name: ..." with deeper continuation, or a paragraph of one indentation
        top=row-1
        entry=re.match(r'\s+[\w, ]+: ',line)
        if not entry:
            while top>span[0]-1 and lines[top-1].strip() and not lines[top-1].strip().startswith('"""') and len(re.match(r'\s*',lines[top-1]).group())==len(ind) : top-=1
            if lines[top-1].strip() and re.match(r'\s+[\w, ]+: ',lines[top-1]) and len(re.match(r'\s*',lines[top-1]).group())<len(ind): top-=1
        i0=re.match(r'\s*',lines[top]).group()
        bottom=top+1
        isentry=bool(re.match(r'\s+[\w, ]+: ',lines[top]))
        while bottom<span[1] and lines[bottom].strip() and not lines[bottom].strip().startswith('"""') and (len(re.match(r'\s*',lines[bottom]).group())>len(i0) if isentry else len(re.match(r'\s*',lines[bottom]).group())==len(i0) and not re.match(r'\s+[\w, ]+: \S',lines[bottom])): bottom+=1
        tail=''
        block=' '.join(l.strip() for l in lines[top:bottom])
        closes=block.endswith('"""') and top!=span[0]-1 or (block.count('"""')==2)
        if block.count('"""')==2: # one-line docstring
            body=block.strip()[3:-3]
            new=textwrap.wrap('"""'+body,100-0,initial_indent=i0,subsequent_indent=i0,break_long_words=False,break_on_hyphens=False)+[i0+'"""']
        else:
            new=textwrap.wrap(block,100,initial_indent=i0,subsequent_indent=i0+('    ' if isentry else ''),break_long_words=False,break_on_hyphens=False)
        lines[top:bottom]=new
    elif line.lstrip().startswith('#'):
        new=textwrap.wrap(line.strip()[1:].strip(),100,initial_indent=ind+'# ',subsequent_indent=ind+'# ',break_long_words=False,break_on_hyphens=False)
        lines[row-1:row]=new
    else:
        done.add((f,row)); left.append((f.replace(str(ROOT)+'/',''),row,line.strip())); continue
    n='\n'.join(lines)
    if n==src: done.add((f,row)); left.append((f,row,line.strip())); continue
    p.write_text(n)
for x in left: print(*x)
