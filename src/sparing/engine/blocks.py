"""The pool of KV blocks: which are free, and nothing else."""

from collections.abc import Iterable


class BlockPool:
    """Hands out block numbers 0 .. blocks - 1; each is free or has one owner."""

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.blocks, self.block_tokens = blocks, block_tokens
        self._free = list(range(blocks - 1, -1, -1))
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._free)

    @property
    def used(self) -> int:
        """Blocks that somebody holds."""
        return len(self._taken)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that `tokens` positions fill, the last perhaps in part."""
        return -(-tokens // self.block_tokens)

    def take(self, count: int) -> list[int]:
        """`count` free blocks; the caller has checked that there are as many."""
        assert 0 <= count <= self.free, f"took {count} of {self.free} free blocks"
        taken = [self._free.pop() for _ in range(count)]
        self._taken.update(taken)
        return taken

    def give_back(self, blocks: Iterable[int]) -> None:
        """Free blocks that `take` handed out."""
        for block in blocks:
            assert block in self._taken, f"block {block} was not taken"
            self._taken.remove(block)
            self._free.append(block)

    def check_invariants(self, held: Iterable[Iterable[int]]) -> None:
        """Every block is free or held exactly once; `held` is what each owner holds."""
        owned = [block for blocks in held for block in blocks]
        assert len(owned) == len(set(owned)), "a block has two owners"
        assert set(owned) == self._taken, "blocks leaked or held after they were freed"
        everything = sorted([*self._free, *owned])
        assert everything == list(range(self.blocks)), "blocks lost or doubled"
