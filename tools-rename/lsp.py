"""Type-aware renames over one snapshot: collect all edits, then apply them at once."""
import ast, json, subprocess, sys, threading, queue, time, os
from pathlib import Path
from urllib.parse import unquote, urlparse

class Lsp:
    def __init__(self, root, python):
        self.root=Path(root)
        env=dict(os.environ)
        self.p=subprocess.Popen(['/tmp/lspvenv/bin/basedpyright-langserver','--stdio'],stdin=subprocess.PIPE,stdout=subprocess.PIPE,stderr=open('/tmp/ren/lsp.err','w'),env=env)
        self.q={} ; self.n=0
        self.python=python
        threading.Thread(target=self.reader,daemon=True).start()
        self.call('initialize',{'processId':os.getpid(),'rootUri':self.root.as_uri(),'workspaceFolders':[{'uri':self.root.as_uri(),'name':'w'}],'capabilities':{'workspace':{'workspaceEdit':{'documentChanges':False},'configuration':True,'workspaceFolders':True},'textDocument':{'rename':{'prepareSupport':True}}}})
        self.notify('initialized',{})
    def reader(self):
        f=self.p.stdout
        while True:
            h={}
            while True:
                l=f.readline()
                if not l: return
                l=l.strip()
                if not l: break
                k,_,v=l.decode().partition(':'); h[k.lower()]=v.strip()
            m=json.loads(f.read(int(h['content-length'])))
            if 'method' in m and 'id' in m:
                r=None
                if m['method']=='workspace/configuration':
                    r=[]
                    for it in m['params']['items']:
                        s=it.get('section','')
                        if s=='python': r.append({'pythonPath':self.python})
                        elif s.endswith('analysis'): r.append({'diagnosticMode':'openFilesOnly','extraPaths':['src','tests','benchmarks'],'typeCheckingMode':'off','indexing':True})
                        else: r.append({})
                self.send({'jsonrpc':'2.0','id':m['id'],'result':r})
            elif 'id' in m:
                self.q.setdefault(m['id'],queue.Queue()).put(m)
    def send(self,m):
        b=json.dumps(m).encode(); self.p.stdin.write(b'Content-Length: %d\r\n\r\n'%len(b)+b); self.p.stdin.flush()
    def notify(self,method,params): self.send({'jsonrpc':'2.0','method':method,'params':params})
    def call(self,method,params,timeout=600):
        self.n+=1; n=self.n; self.q.setdefault(n,queue.Queue()); self.send({'jsonrpc':'2.0','id':n,'method':method,'params':params})
        m=self.q[n].get(timeout=timeout)
        if 'error' in m: raise RuntimeError(f"{method}: {m['error']}")
        return m['result']

def locate(path, dotted):
    """(line, col) of the name of a class, function, method, field, or module constant."""
    src=path.read_text('utf-8'); tree=ast.parse(src); lines=src.splitlines()
    node=tree
    parts=dotted.split('.')
    for k,name in enumerate(parts):
        for b in node.body:
            if isinstance(b,(ast.ClassDef,ast.FunctionDef)) and b.name==name:
                node=b; break
            tgt=b.target if isinstance(b,ast.AnnAssign) else b.targets[0] if isinstance(b,ast.Assign) else None
            if isinstance(tgt,ast.Name) and tgt.id==name:
                return tgt.lineno-1, len(lines[tgt.lineno-1].encode()[:tgt.col_offset].decode())
            if isinstance(b,ast.FunctionDef) and b.name=='__init__' or False: pass
        else:
            # self.attribute or parameter of a function
            for b in ast.walk(node):
                if isinstance(b,ast.Attribute) and isinstance(b.value,ast.Name) and b.value.id=='self' and b.attr==name and isinstance(b.ctx,ast.Store):
                    line=lines[b.end_lineno-1]; return b.end_lineno-1, b.end_col_offset-len(name)
                if isinstance(b,ast.arg) and b.arg==name:
                    return b.lineno-1,b.col_offset
            raise KeyError(f'{path}: {dotted}')
    line=lines[node.lineno-1]
    kw='class ' if isinstance(node,ast.ClassDef) else 'def '
    return node.lineno-1, line.index(kw)+len(kw)

def run(root, python, renames):
    """renames: list of (relative path, dotted, new). Applies all; returns what failed."""
    root=Path(root); lsp=Lsp(root,python); failed=[]; edits={}
    opened=set()
    t=time.time(); warm(lsp,root)
    for k,(rel,dotted,new) in enumerate(renames):
        path=root/rel
        try:
            line,col=locate(path,dotted)
        except KeyError as e:
            failed.append((rel,dotted,'not found')); continue
        if False:
            opened.add(rel)
            lsp.notify('textDocument/didOpen',{'textDocument':{'uri':path.as_uri(),'languageId':'python','version':1,'text':path.read_text('utf-8')}})
        try:
            r=lsp.call('textDocument/rename',{'textDocument':{'uri':path.as_uri()},'position':{'line':line,'character':col},'newName':new})
        except RuntimeError as e:
            failed.append((rel,dotted,str(e)[:200])); continue
        n=0
        ch=(r or {}).get('changes') or {}
        if not ch and r and r.get('documentChanges'):
            ch={d['textDocument']['uri']:d['edits'] for d in r['documentChanges']}
        for uri,es in ch.items():
            p=unquote(urlparse(uri).path)
            for e in es:
                s,t2=e['range']['start'],e['range']['end']
                key=(s['line'],s['character'],t2['line'],t2['character'])
                old=edits.setdefault(p,{}).get(key)
                if old not in (None,e['newText']): failed.append((rel,dotted,f'conflict at {p}:{key}: {old} / {e["newText"]}'))
                edits[p][key]=e['newText']; n+=1
        print(f'{k+1}/{len(renames)} {dotted} -> {new}: {n} edits, {time.time()-t:.0f} s',flush=True)
    for p,es in edits.items():
        lines=Path(p).read_text('utf-8').split('\n')
        for (l1,c1,l2,c2),text in sorted(es.items(),reverse=True):
            assert l1==l2,(p,l1,l2)
            # LSP characters are utf-16 units
            raw=lines[l1].encode('utf-16-le')
            lines[l1]=(raw[:2*c1].decode('utf-16-le')+text+raw[2*c2:].decode('utf-16-le'))
        Path(p).write_text('\n'.join(lines),'utf-8')
    lsp.p.kill()
    return failed

def warm(lsp, root):
    """Let the server find and read all files before the first rename is asked for."""
    for p in sorted(root.glob('src/**/*.py'))+sorted(root.glob('tests/**/*.py'))+sorted(root.glob('benchmarks/*.py')):
        lsp.notify('textDocument/didOpen',{'textDocument':{'uri':p.as_uri(),'languageId':'python','version':1,'text':p.read_text('utf-8')}})
    p=root/'src/wenmo/types.py'
    line,col=locate(p,'WenmoError')
    r=lsp.call('textDocument/references',{'textDocument':{'uri':p.as_uri()},'position':{'line':line,'character':col},'context':{'includeDeclaration':True}})
    print('warm',len(r or []),flush=True)
