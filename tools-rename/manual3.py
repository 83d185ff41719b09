import re
s=open('src/wenmo/recipe_effects.py').read()
s=s.replace('''    @property
    def in_windows''','''    @property
    def on_counts(self) -> bool:
        """Whether n-gram counts stand beside the network."""
        return bool(self.recipe.ngram_prior.enabled)

    @property
    def in_windows''',1)
s=s.replace('t.recipe.ngram_prior.enabled','t.on_counts')
open('src/wenmo/recipe_effects.py','w').write(s)
s=open('src/wenmo/apps/cli/main.py').read()
s=s.replace('from wenmo.types import WenmoError\n','from wenmo.config import match\nfrom wenmo.types import WenmoError\n',1)
for a in (('length_form=','length_penalty_form='),('diversity=diversity_penalty','diversity_penalty=diversity_penalty'),('gap=gap_tokens','gap_tokens=gap_tokens'),('depth=max_depth','max_depth=max_depth')):
    s=s.replace('        '+a[0],'        '+a[1],1) if ('        '+a[0]) in s else s
open('src/wenmo/apps/cli/main.py','w').write(s)
