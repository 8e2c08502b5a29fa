#include "watersic/model_layer.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "api/model_impl.h"
#include "watersic/error.h"

namespace watersic {
namespace {

const std::string kWeight = ".weight";

std::string bias_of(const WeightSource& source, const std::string& weight) {
  if (!weight.ends_with(kWeight)) return "";
  const std::string bias = weight.substr(0, weight.size() - kWeight.size()) + ".bias";
  return source.has(bias) ? bias : "";
}

TensorInfo find_tensor(const Model& model, const std::string& name) {
  for (const TensorInfo& tensor : model.tensors())
    if (tensor.name == name) return tensor;
  throw Error(fmt::format("{}: tensor '{}': found no such tensor", model.info().name, name));
}

}  // namespace

std::vector<TensorInfo> Model::tensors() const {
  std::vector<TensorInfo> all;
  for (const ModelTensor& tensor : model_tensors(impl_->config()))
    all.push_back({.name = tensor.name,
                   .rows = tensor.shape.rows,
                   .cols = tensor.shape.cols,
                   .is_vector = tensor.is_vector});
  return all;
}

Matrix<float> Model::tensor(const std::string& name) const {
  return impl_->opened->weights().matrix(find_tensor(*this, name).name);
}

std::optional<std::string> Model::text(const std::string& file) const {
  return impl_->opened->text(file);
}

struct ModelLayer::Impl {
  std::shared_ptr<Model::Impl> model;
  std::string name;
  bool has_bias = false;
  std::shared_ptr<const LinearLayer> layer;
  bool turned = false;  // embedding and head are held as one
};

ModelLayer::ModelLayer(const Model& model, const std::string& weight)
    : impl_(std::make_unique<Impl>(Impl{.model = model.impl_, .name = weight})) {
  const Model::Impl& of = *model.impl_;
  if (find_tensor(model, weight).is_vector)
    throw Error(fmt::format("{}: tensor '{}': expected a matrix, found a vector", of.opened->name(),
                            weight));
  impl_->has_bias = !bias_of(of.opened->weights(), weight).empty();
  impl_->layer = of.layer(weight);
  impl_->turned = of.format != WeightFormat::kFloat32 && of.opened->turns_embedding();
}
ModelLayer::ModelLayer(ModelLayer&&) noexcept = default;
ModelLayer& ModelLayer::operator=(ModelLayer&&) noexcept = default;
ModelLayer::~ModelLayer() = default;

int64_t ModelLayer::outputs() const { return impl_->layer->outputs(); }
int64_t ModelLayer::inputs() const { return impl_->layer->inputs(); }
int64_t ModelLayer::bytes() const { return impl_->layer->bytes(); }
bool ModelLayer::has_bias() const { return impl_->has_bias; }

Matrix<float> ModelLayer::apply(MatrixView<const float> X) const {
  if (X.cols() != inputs()) {
    throw Error(fmt::format("{}: expected inputs of {} features, found {}", impl_->name, inputs(),
                            X.cols()));
  }
  if (impl_->turned && impl_->name == kEmbedding)
    throw Error(fmt::format("{}: is held in one with {}, which multiplies", kEmbedding, kHead));
  for (int64_t t = 0; t < X.rows(); ++t)
    for (const float x : X.row(t))
      if (!std::isfinite(x))
        throw Error(
            fmt::format("{}: expected finite inputs, found {} at row {}", impl_->name, x, t));
  Matrix<float> Y(X.rows(), outputs());
  if (X.rows() > 0) impl_->layer->apply(impl_->model->pool, X.rows(), X, 0, Y);
  return Y;
}

Matrix<float> ModelLayer::rows(std::span<const int32_t> ids) const {
  for (const int32_t id : ids)
    if (id < 0 || id >= outputs())
      throw Error(fmt::format("{}: expected rows below {}, found {}", impl_->name, outputs(), id));
  if (impl_->turned && impl_->name == kHead)
    throw Error(fmt::format("{}: is held in one with {}, whose rows are read", kHead, kEmbedding));
  return impl_->layer->rows(impl_->model->pool, ids);
}

std::shared_ptr<const LinearLayer> Model::Impl::layer(const std::string& weight) const {
  const std::lock_guard lock(mutex_);
  return opened->layer(weight, bias_of(opened->weights(), weight), format);
}

}  // namespace watersic
