#include "pipeline/sharing.h"

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "pipeline/report.h"

namespace watersic {
namespace {

constexpr const char* kName = "what another rank sent";  // for errors

void share_json(const Communicator& ranks, int root, Json& json) {
  std::string text;
  if (ranks.rank() == root) text = json.dump();
  share(ranks, root, text);
  if (ranks.rank() != root) json = Json::parse(text);
}

}  // namespace

void share(const Communicator& ranks, int root, LayerReport& report,
           std::vector<std::byte>& tensor) {
  if (ranks.alone()) return;
  const bool mine = ranks.rank() == root;
  Json json;
  if (mine) json = layer_json(report);
  share_json(ranks, root, json);
  if (!mine) report = layer_from_json(json, kName);
  share(ranks, root, tensor);
}

void share(const Communicator& ranks, int root, FinishedStage& stage) {
  if (ranks.alone()) return;
  size_t count = stage.layers.size();
  broadcast<size_t>(ranks, root, {&count, 1});
  stage.layers.resize(count);
  stage.tensors.resize(count);
  for (size_t i = 0; i < count; ++i) share(ranks, root, stage.layers[i], stage.tensors[i]);
  share(ranks, root, stage.outliers);
}

void share(const Communicator& ranks, int root, SavedBasis& basis) {
  if (ranks.alone()) return;
  share(ranks, root, basis.axes);
  share(ranks, root, basis.rotation.stream);
  std::vector<size_t> heads;
  heads.reserve(basis.rotation.heads.size());
  for (const auto& block : basis.rotation.heads) heads.push_back(block.size());
  share(ranks, root, heads);
  basis.rotation.heads.resize(heads.size());
  for (size_t block = 0; block < heads.size(); ++block) {
    basis.rotation.heads[block].resize(heads[block]);
    for (Matrix<float>& axes : basis.rotation.heads[block]) share(ranks, root, axes);
  }
}

void share(const Communicator& ranks, int root, std::vector<LayerSensitivity>& layers) {
  if (ranks.alone()) return;
  const bool mine = ranks.rank() == root;
  Json json;
  if (mine) json = sensitivities_json(layers);
  share_json(ranks, root, json);
  if (!mine) layers = sensitivities_from_json(json, kName);
}

}  // namespace watersic
