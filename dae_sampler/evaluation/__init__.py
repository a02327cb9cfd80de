"""How good models, samples and restorations are."""
