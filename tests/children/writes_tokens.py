"""Creates tokens in a file, and revokes every second one: PATH NAME COUNT."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from basic_inference_server.core.tokens_file import TokenStore

path, name, count = sys.argv[1:]
store = TokenStore(Path(path))
for turn in range(int(count)):
    passing, _ = store.create(f"{name} passing {turn}", ("admin",))
    store.create(f"{name} kept {turn}", (f"run:{name}",))
    if store.revoke(passing.id) != passing:
        sys.exit(1)
