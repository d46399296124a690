"""The job of a library user in five lines, as at the top of the README."""

import attrs

import yolox
from yolox.data.synthetic import SyntheticConfig, write_synthetic


def small(recipe):
    """The same recipe for two short epochs of small images."""
    loader = attrs.evolve(recipe.loader, batch_size=2, workers=0, multiscale_sizes=())
    optim = attrs.evolve(recipe.optim, warmup_epochs=0, flat_epochs=0)
    spec = attrs.evolve(recipe.input, input_size=(64, 64))
    return attrs.evolve(recipe, epochs=2, no_aug_epochs=1, eval_interval=1, loader=loader, optim=optim, input=spec)


def test_five_lines_train_evaluate_and_predict(tmp_path, monkeypatch):
    config = SyntheticConfig(image_size=(64, 64), sides=(16, 40))
    train_json, val_json = (write_synthetic(tmp_path / str(s), images=4, seed=s, config=config) for s in (0, 1))
    train_set, val_set = yolox.read_coco(train_json, tmp_path / "0/images"), yolox.read_coco(val_json, tmp_path / "1/images")
    images = [str(path) for path in sorted((tmp_path / "1/images").iterdir())]
    monkeypatch.chdir(tmp_path)  # a file of the name comes before a download
    weights = {f"params.{p.name}": p.asnumpy() for p in yolox.models.yolox_nano(80).get_parameters()}
    yolox.save_checkpoint("megvii:nano", weights, recipe=yolox.megvii_recipe("nano"), class_names=list(map(str, range(80))))

    detector = yolox.models.yolox_nano(num_classes=3)
    yolox.load_weights(detector, "megvii:nano")
    recipe = small(yolox.finetune_recipe(yolox.megvii_recipe("nano")))
    run = yolox.train(detector, train_set, val_set=val_set, recipe=recipe, output="RUN")
    metrics = yolox.evaluate(run.detector, val_set)
    found = yolox.predict(run.detector, images)

    assert len(found) == 4 and metrics["AP"] == run.best_ap and set(metrics["per_class"]) == set(train_set.class_names)
    assert [row["epoch"] for row in run.history] == [1, 2] and (tmp_path / "RUN/best.safetensors").is_file()
