#include "watersic/rotate.h"

#include "export/safetensors.h"
#include "model/rotated_checkpoint.h"
#include "pipeline/calibrate.h"
#include "pipeline/principal_axes.h"
#include "runtime/open_model.h"
#include "watersic/error.h"

namespace watersic {
namespace {

class RotatedModel : public OpenModel {
 public:
  explicit RotatedModel(std::unique_ptr<Checkpoint> checkpoint)
      : checkpoint_(std::move(checkpoint)) {
    name_ = checkpoint_->name();
    config_ = checkpoint_->config();
  }
  const WeightSource& weights() const override { return checkpoint_->weights(); }
  std::optional<std::string> text(const std::string& file) const override {
    return checkpoint_->text(file);
  }
  std::string model_id() const override { return {}; }

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
};

}  // namespace

void rotate_model(const std::filesystem::path& model, const std::filesystem::path& folder,
                  const RotateOptions& options, const ProgressFn& progress) {
  if (options.calibration.source == CalibrationOptions::Source::kNone)
    throw Error("the principal basis needs calibration, found none");
  ThreadPool pool(options.threads);
  auto checkpoint = open_checkpoint(model);
  const auto windows = calibration_windows(pool,
                                           {.name = checkpoint->name(),
                                            .config = checkpoint->config(),
                                            .weights = checkpoint->weights(),
                                            .tokenizer = [&] { return checkpoint->tokenizer(); }},
                                           options.calibration, options.seed, progress);
  Rotation rotation =
      principal_axes(pool, checkpoint->config(), checkpoint->weights(), windows, [] {});
  if (!options.stream) rotation.stream = {};
  if (!options.heads) rotation.heads = {};
  const RotatedModel rotated(rotated_checkpoint(pool, std::move(checkpoint), std::move(rotation)));
  write_safetensors(rotated, folder, options.type, progress);
}

}  // namespace watersic
