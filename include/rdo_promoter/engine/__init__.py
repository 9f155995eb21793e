"""Observe, plan, apply, verify: promotions on clients alone, the same for every caller."""
