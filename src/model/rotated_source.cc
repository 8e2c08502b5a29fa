#include "model/rotated_source.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/json.h"
#include "linalg/blas.h"

namespace watersic {
namespace {

Matrix<float> product(ThreadPool& pool, Op op, MatrixView<const float> A,
                      MatrixView<const float> B) {
  Matrix<float> C(op == Op::kNone ? A.rows() : A.cols(), B.cols());
  gemm(pool, op, Op::kNone, 1.0F, A, B, 0.0F, C);
  return C;
}

void copy_to(const Matrix<float>& from, MatrixView<float> to) {
  for (int64_t i = 0; i < from.rows(); ++i) std::ranges::copy(from.row(i), to.row(i).begin());
}

}  // namespace

ModelConfig rotated_config(const ModelConfig& config, const Rotation& rotation) {
  ModelConfig out = config;
  if (!rotation.stream.empty()) out.tied_embeddings = false;
  return out;
}

RotatedSource::RotatedSource(ThreadPool& pool, const ModelConfig& config,
                             const WeightSource& original, Rotation rotation, RotatedPart part)
    : pool_(pool), config_(config), original_(original), rotation_(std::move(rotation)) {
  if (part != RotatedPart::kBlocks && !rotation_.stream.empty()) place_ends();
  if (part != RotatedPart::kEnds) place_blocks();
}

void RotatedSource::place_ends() {
  adds_head_ = config_.tied_embeddings;
  places_[kEmbedding].embeds = true;
  places_[kHead].gain = kFinalNorm;
  places_[kFinalNorm].is_norm = true;
}

void RotatedSource::place_blocks() {
  const bool stream = !rotation_.stream.empty(), heads = !rotation_.heads.empty();
  for (int64_t block = 0; block < config_.blocks; ++block) {
    for (const LinearSite& site : linear_sites(config_, block)) {
      const bool attends = site.input == Capture::kQkv;
      const bool reads = attends || site.input == Capture::kGateUp;
      Place& place = places_[site.name];
      if (stream && reads) {
        place.gain = block_tensor(
            block, attends ? "input_layernorm.weight" : "post_attention_layernorm.weight");
        places_[place.gain].is_norm = true;
      }
      place.writes = stream && !reads;
      if (heads && site.linear == kValue) place.values = block;
      if (heads && site.linear == kOutput) place.heads = block;
      if (site.bias)  // as a row of outputs
        places_[site.bias_name()] = {.embeds = place.writes, .heads = place.values};
    }
  }
}

const std::string& RotatedSource::origin(const std::string& name) const {
  static const std::string kTied = kEmbedding;
  return name == kHead && adds_head_ ? kTied : name;
}

std::vector<std::string> RotatedSource::names() const {
  std::vector<std::string> names = original_.names();
  if (adds_head_ && !std::ranges::count(names, kHead)) names.emplace_back(kHead);
  return names;
}

bool RotatedSource::has(const std::string& name) const {
  return (name == kHead && adds_head_) || original_.has(name);
}

WeightSource::Shape RotatedSource::shape(const std::string& name) const {
  return original_.shape(origin(name));
}

Matrix<float> RotatedSource::through_stream(const Place& place, Matrix<float> W) const {
  if (!place.gain.empty()) {
    const std::vector<float> gain = original_.vector(place.gain);
    for (int64_t i = 0; i < W.rows(); ++i)
      for (int64_t j = 0; j < W.cols(); ++j) W(i, j) *= gain[static_cast<size_t>(j)];
  }
  if (place.embeds || !place.gain.empty()) return product(pool_, Op::kNone, W, rotation_.stream);
  return W;
}

Matrix<float> RotatedSource::matrix(const std::string& name) const {
  Matrix<float> W = original_.matrix(origin(name));
  const auto found = places_.find(name);
  if (found == places_.end()) return W;
  const Place& place = found->second;
  if (place.is_norm) {
    std::ranges::fill(W.values(), 1.0F);
    return W;
  }
  const int64_t d = config_.head_dim;
  if (place.values >= 0) {
    const auto& Q = rotation_.heads[static_cast<size_t>(place.values)];
    for (size_t h = 0; h < Q.size(); ++h) {
      const auto rows = W.view().block(static_cast<int64_t>(h) * d, 0, d, W.cols());
      copy_to(product(pool_, Op::kTranspose, Q[h], rows), rows);
    }
  }
  if (place.heads >= 0) {
    const auto& Q = rotation_.heads[static_cast<size_t>(place.heads)];
    // A matrix reads the values that each query head gathers, a bias has those of its own.
    const int64_t sharing = W.cols() / d / static_cast<int64_t>(Q.size());
    for (int64_t h = 0; h < W.cols() / d; ++h) {
      const auto columns = W.view().block(0, h * d, W.rows(), d);
      copy_to(product(pool_, Op::kNone, columns, Q[static_cast<size_t>(h / sharing)]), columns);
    }
  }
  if (place.writes) return product(pool_, Op::kTranspose, rotation_.stream, W);
  return through_stream(place, std::move(W));
}

Matrix<float> RotatedSource::rows(const std::string& name, const std::vector<int32_t>& rows) const {
  const auto found = places_.find(name);
  if (found == places_.end()) return original_.rows(name, rows);
  // Of what is large, nothing more than is asked for.
  if (name == kEmbedding || name == kHead)
    return through_stream(found->second, original_.rows(origin(name), rows));
  const Matrix<float> all = matrix(name);
  Matrix<float> some(static_cast<int64_t>(rows.size()), all.cols());
  for (size_t i = 0; i < rows.size(); ++i)
    std::ranges::copy(all.row(rows[i]), some.row(static_cast<int64_t>(i)).begin());
  return some;
}

std::string untied_config(const std::string& text, const std::string& name) {
  Json json = parse_json(text, name);
  json["tie_word_embeddings"] = false;
  return json.dump(2) + "\n";
}

}  // namespace watersic
