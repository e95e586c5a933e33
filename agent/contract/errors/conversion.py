"""Conversion."""

from __future__ import annotations

from agent.contract.errors.tree import EdgeError, ExitCode


class ConvertError(EdgeError):
    """A model could not be turned into an artifact."""


class ModelUnreadable(ConvertError):
    code = "model.unreadable"
    template = "`{path}` is no readable {format} model: {reason}"
    hint_template = "check that the file is whole and of the kind its name says"


class ModelFormatUnknown(ConvertError):
    code = "model.format-unknown"
    template = "`{path}` is no model that edge knows: {reason}"
    hint_template = (
        "edge reads .keras, .h5, SavedModel folders, .onnx, .tflite, .pt2, TorchScript, .skops and .joblib"
    )
    exit_code = ExitCode.USAGE


class ModelUnsupported(ConvertError):
    code = "model.unsupported"
    template = "`{path}` can't become {target}: {reason}"
    hint_template = "{way_out}"


class ModelHoldsCode(ConvertError):
    code = "model.holds-code"
    template = "`{path}` carries code that would run on this machine: {reason}"
    hint_template = "save the model without Lambda layers, or convert it from its source"


class RecipeUnknown(ConvertError):
    code = "recipe.unknown"
    template = "there is no recipe `{recipe}`{suggestion}"
    hint_template = "recipes are: {known}"
    exit_code = ExitCode.USAGE


class RecipeInvalid(ConvertError):
    code = "recipe.invalid"
    template = "`{path}` is no recipe: {reason}"
    hint_template = "docs/converters.md says what a recipe holds"
    exit_code = ExitCode.USAGE


class CalibrationMissing(ConvertError):
    code = "calibration.missing"
    template = "recipe `{recipe}` needs calibration data and none was given"
    hint_template = "give representative inputs with `--calibration DATA`; edge never makes them up"
    exit_code = ExitCode.USAGE


class DataUnreadable(ConvertError):
    code = "data.unreadable"
    template = "`{path}` can't be read as data: {reason}"
    hint_template = (
        "edge reads .npz, .npy, .csv, .parquet, folders of JPEG, PNG or WAV files, and module:function"
    )


class DataMismatch(ConvertError):
    code = "data.mismatch"
    template = "{purpose} data `{path}` does not fit the model: {reason}"
    hint_template = "the model takes {expected}"


class ConversionCrashed(ConvertError):
    code = "conversion.crashed"
    template = "the conversion of `{path}` to {target} crashed: {reason}"
    hint_template = "the whole output is in `{log}`"


class ExtraMissing(ConvertError):
    code = "extra.missing"
    template = "this needs `{package}`, which is not installed"
    hint_template = "in the folder of edge's source: pip install '.[{extra}]'"


class AccuracyOutside(ConvertError):
    code = "accuracy.outside"
    template = "`{profile}`: accuracy falls by {drop_points:.2f} points (95 % interval {low:.2f} to {high:.2f}), the budget is {max_drop:.2f}"
    hint_template = "over by {over:.2f} points; try other calibration data or another recipe, or keep it with --keep-failed"
    exit_code = ExitCode.NEGATIVE_VERDICT


class AccuracyUnkept(ConvertError):
    code = "accuracy.unkept"
    template = "`{profile}`: `{recipe}` can't be kept within {max_drop:.2f} points, {tried} ways were tried; at best, {reason}"
    hint_template = "these layers lose most when they alone are quantized: {layers}; take fp16, give a recipe that keeps them float, or train with quantization"
    exit_code = ExitCode.NEGATIVE_VERDICT


class AgreementBelowFloor(ConvertError):
    code = "accuracy.disagrees"
    template = "`{profile}`: agrees with its float model on {agreement:.1%} of the golden set, at least {floor:.1%} are needed"
    hint_template = "the conversion changed what the model says; check the calibration data, or keep it with --keep-failed"
    exit_code = ExitCode.NEGATIVE_VERDICT


class AccuracyUndecided(ConvertError):
    code = "accuracy.undecided"
    template = "`{profile}`: too few samples ({samples}) to tell whether the drop is within {max_drop:.2f} points (95 % interval {low:.2f} to {high:.2f})"
    hint_template = "about {needed} samples would tell"
    exit_code = ExitCode.INCOMPLETE


class ProofFailed(ConvertError):
    code = "proof.failed"
    template = "`{profile}`: the artifact does not run in {engine}: {reason}"
    hint_template = "this artifact would not run on the board; try another recipe"
    exit_code = ExitCode.NEGATIVE_VERDICT
