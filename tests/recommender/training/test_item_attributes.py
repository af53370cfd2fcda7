from recommender.training.run import train


def test_attributes_of_items_are_read_where_they_are_switched_on(world, settings):
    config = settings(epochs=1, refit=False)
    told = config.model.model_copy(update={"attribute_width": 5})
    plain = train(world, world.folds[-1], config)
    read = train(world, world.folds[-1], config.model_copy(update={"model": told}))
    assert plain.fingerprint != read.fingerprint
    widths = [t.model.scorer.weights()["tower.text_IV"].shape[1] for t in (plain, read)]
    assert widths[1] > widths[0]
