"""Test vectors: what an implementation in any language must compute, accept and refuse (chapter ``vectors``)."""
