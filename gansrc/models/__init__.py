"""The other rows of Table 1, and later models: one file a model, its values at its foot.

The published scores of the deep belief net, the stacked contractive auto-encoder and the deep GSN come from
papers that do not give all of their settings; what could not be found is marked as ours.
"""
