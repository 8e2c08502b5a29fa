#include "watersic/rotate.h"

#include "checkpoint/open_checkpoint.h"
#include "export/safetensors.h"
#include "model/rotated_source.h"
#include "pipeline/calibrate.h"
#include "pipeline/principal_axes.h"
#include "runtime/open_model.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// A checkpoint with a rotation between it and who asks.
class RotatedModel : public OpenModel {
 public:
  RotatedModel(ThreadPool& pool, const Checkpoint& original, const Rotation& rotation)
      : original_(original), source_(pool, original.config(), original.weights(), rotation) {
    name_ = original.name();
    config_ = rotated_config(original.config(), rotation);
  }
  const WeightSource& weights() const override { return source_; }
  std::optional<std::string> text(const std::string& file) const override {
    auto text = original_.text(file);
    if (text && file == "config.json" &&
        config_.tied_embeddings != original_.config().tied_embeddings)
      return untied_config(*text, name_ + ": config.json");
    return text;
  }
  std::string model_id() const override { return {}; }

 private:
  const Checkpoint& original_;
  RotatedSource source_;
};

}  // namespace

void rotate_model(const std::filesystem::path& model, const std::filesystem::path& folder,
                  const RotateOptions& options, const ProgressFn& progress) {
  if (options.calibration.source == CalibrationOptions::Source::kNone)
    throw Error("the principal basis needs calibration, found none");
  ThreadPool pool(options.threads);
  const auto checkpoint = open_checkpoint(model, progress);
  const Context context(pool, progress);
  const auto windows = calibration_windows(context,
                                           {.name = checkpoint->name(),
                                            .config = checkpoint->config(),
                                            .weights = checkpoint->weights(),
                                            .tokenizer = [&] { return checkpoint->tokenizer(); }},
                                           options.calibration, options.seed);
  Rotation rotation =
      principal_axes(context, checkpoint->config(), checkpoint->weights(), windows).rotation;
  if (!options.stream) rotation.stream = {};
  if (!options.heads) rotation.heads = {};
  write_safetensors(RotatedModel(pool, *checkpoint, rotation), folder, options.type, progress);
}

}  // namespace watersic
