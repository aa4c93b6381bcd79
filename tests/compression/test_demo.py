"""How the main job trains."""

import numpy as np
import pytest

import minigrad
from minigrad import DataLoader
from minigrad.compression.demo import Recipe, train_lenet
from minigrad.compression.models import LeNet
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD, CosineAnnealingLR


@pytest.mark.parametrize("cosine", [False, True])
def test_a_lenet_is_trained_as_the_recipe_says(small_training, cosine):
    few, told = small_training.subset(slice(200)), []
    recipe = Recipe(epochs=2, batch_size=40, lr=0.05, momentum=0.9, seed=7)
    model = train_lenet(few, recipe, lambda model, epoch, loss: told.append((epoch, loss)), cosine)
    minigrad.manual_seed(7)
    expected = LeNet()
    optimizer = SGD(expected.parameters(), lr=0.05, momentum=0.9)
    schedule = CosineAnnealingLR(optimizer, 10)
    loader = DataLoader(few.images, few.labels, batch_size=40, shuffle=True, seed=7)
    losses = [
        minigrad.train(
            expected, loader, CrossEntropyLoss(), optimizer, lambda model: schedule.step() if cosine else None
        )
        for _ in range(2)
    ]
    assert told == [(1, losses[0]), (2, losses[1])]
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, expected.state_dict()[name])
    assert train_lenet(few, recipe, cosine=not cosine).fc3.bias.data.tolist() != model.fc3.bias.data.tolist()
