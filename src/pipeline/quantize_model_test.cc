// The pass over a small checkpoint: what is asked for, what is reported and what the file holds.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "checkpoint/checkpoint.h"
#include "container/read_container.h"
#include "io/json.h"
#include "model/config.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"
#include "watersic/file.h"
#include "watersic/quantize.h"

namespace watersic {
namespace {

using Source = CalibrationOptions::Source;

class QuantizeModel : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("pipeline");
    ThreadPool pool;
    write_small_checkpoint(pool, *folder_ / "model");
    std::string text;
    for (int i = 0; i < 200; ++i) text += "Sentence number " + std::to_string(i * i) + ".\n";
    write_file(*folder_ / "text.txt", text);
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::filesystem::path file(const std::string& name) { return *folder_ / name; }
  // Calibrated on eight windows of 64 tokens.
  static QuantizeOptions options(Method method, double bits, Source source = Source::kSelf) {
    QuantizeOptions out;
    out.method = method;
    out.bits = bits;
    out.calibration = {
        .source = source, .file = file("text.txt"), .samples = 8, .sequence_length = 64};
    if (source != Source::kText) out.calibration.file.clear();
    out.model.mixing_steps = 0;
    out.coder = Coder::kPooled;                        // half the time
    if (method == Method::kWatersic) out.trellis = 8;  // a third of it
    out.embedding_bits = out.head_bits = 16;           // more than half of the weights
    out.threads = 2;
    return out;
  }
  // Each layer by itself, on the original model's statistics.
  static QuantizeOptions plain(Method method, double bits) {
    QuantizeOptions out = options(method, bits);
    out.model.drift = false;
    if (method == Method::kWatersic) out.model.attention_weighting = false;
    if (method == Method::kWatersic) out.model.output_metric = false;
    out.model.allocation = Allocation::kUniform;
    return out;
  }
  static QuantizeReport run(const QuantizeOptions& options,
                            const std::string& output = "out.wsic") {
    return quantize_model(file("model"), file(output), options);
  }
  static std::string error_of(const QuantizeOptions& options) {
    try {
      run(options, "failed.wsic");
    } catch (const Error& e) {
      for (const auto& entry : std::filesystem::directory_iterator(folder_->path()))
        EXPECT_EQ(entry.path().string().find("failed"), std::string::npos) << entry.path();
      return e.what();
    }
    return "(no error)";
  }
  static std::string read_bytes(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::string bytes_of(const std::string& name) { return read_bytes(file(name)); }

  static TestFolder* folder_;
};
TestFolder* QuantizeModel::folder_ = nullptr;

TEST_F(QuantizeModel, EveryMethodSpendsWhatIsAskedFor) {
  for (const Method method : {Method::kWatersic, Method::kHuffmanGptq, Method::kHuffmanRtn}) {
    for (const double bits : {1.5, 3.0}) {
      QuantizeOptions asked = options(method, bits);
      if (bits == 1.5 && method == Method::kWatersic) asked.coder = Coder::kClasses;
      const QuantizeReport report = run(asked);
      EXPECT_NEAR(report.bits.file, bits, 0.01) << name_of(method);
    }
  }
  for (const Method method : {Method::kGptq, Method::kRtn}) {
    const QuantizeReport report = run(options(method, 3));
    EXPECT_LT(report.bits.coded, 3.1) << name_of(method);
    EXPECT_GT(report.bits.coded, 1) << name_of(method);
  }
}

TEST_F(QuantizeModel, ThePapersCountIsATargetToo) {
  QuantizeOptions paper = options(Method::kWatersic, 3);
  paper.rate = RateTarget::kPaper;
  EXPECT_NEAR(run(paper).bits.paper_rate, 3, 0.01);
}

TEST_F(QuantizeModel, CalibratesOnWhatItIsToldTo) {
  const QuantizeReport self = run(options(Method::kWatersic, 2), "self.wsic"),
                       text = run(options(Method::kWatersic, 2, Source::kText), "text.wsic"),
                       none = run(options(Method::kWatersic, 2, Source::kNone), "none.wsic");
  EXPECT_EQ(self.calibration_windows, 8);
  EXPECT_EQ(self.calibration_tokens, 8 * 64);
  EXPECT_EQ(text.calibration_windows, 8);
  EXPECT_EQ(none.calibration_windows, 0);
  for (const QuantizeReport& report : {self, text, none}) {
    EXPECT_NEAR(report.bits.file, 2, 0.01);
    for (const LayerReport& layer : report.layers) {
      EXPECT_GT(layer.relative_distortion, 0) << layer.name;
      EXPECT_LT(layer.relative_distortion, 0.3) << layer.name;
    }
  }
  EXPECT_NE(self.model_id, text.model_id);
  EXPECT_NE(self.model_id, none.model_id);
  QuantizeOptions reseeded = options(Method::kWatersic, 2);
  reseeded.seed = 2;
  EXPECT_NE(run(reseeded).model_id, self.model_id);
}

TEST_F(QuantizeModel, TheSameBytesAtAnyNumberOfThreads) {
  QuantizeOptions two = options(Method::kWatersic, 2);
  two.calibration.samples = 4;
  QuantizeOptions one = two;
  one.threads = 1;
  run(one, "one.wsic");
  run(two, "two.wsic");
  EXPECT_EQ(bytes_of("one.wsic"), bytes_of("two.wsic"));
}

TEST_F(QuantizeModel, TheSameBytesInLessMemory) {
  QuantizeOptions all = options(Method::kWatersic, 2, Source::kText);
  all.calibration.samples = 40;  // two batches
  // Whose gradients would take more than all else.
  all.model.output_metric = all.model.token_weighting = false;
  all.model.allocation = Allocation::kUniform;
  QuantizeOptions less = all;
  const int64_t peak = plan_quantization(file("model"), all).peak_bytes;
  less.memory = peak - 1;
  EXPECT_LT(plan_quantization(file("model"), less).peak_bytes, peak);
  run(all, "all.wsic");
  run(less, "less.wsic");
  EXPECT_EQ(bytes_of("all.wsic"), bytes_of("less.wsic"));
  less.memory = peak / 2;
  EXPECT_NE(error_of(less).find("GiB may be taken, and model.layers.0.mlp.down_proj"),
            std::string::npos)
      << error_of(less);
}

TEST_F(QuantizeModel, TheReportIsWhatTheFileHolds) {
  QuantizeOptions asked = plain(Method::kWatersic, 2.5);
  asked.coder = Coder::kClasses;
  const QuantizeReport report = run(asked);
  const ContainerReader reader(file("out.wsic"));
  ThreadPool pool;
  reader.verify(pool);
  const Json manifest = reader.manifest();
  EXPECT_EQ(manifest["model_id"], report.model_id);
  EXPECT_EQ(manifest["options"]["bits"], 2.5);
  EXPECT_EQ(static_cast<int64_t>(reader.file_bytes()), report.file_bytes);
  EXPECT_EQ(reader.text("config.json"), read_text(file("model/config.json")));
  EXPECT_EQ(reader.text("tokenizer.json"), read_text(file("model/tokenizer.json")));

  ASSERT_EQ(report.layers.size(), 14U);
  int64_t weights = 0, kept = 0, quantized_bytes = 0;
  double coded = 0;
  for (const LayerReport& layer : report.layers) {
    const Section& section = reader.section(layer.name);
    EXPECT_EQ(section.kind, SectionKind::kQuantized);
    EXPECT_EQ(section.rows(), layer.rows);
    const auto size = static_cast<double>(layer.rows * layer.cols);
    EXPECT_DOUBLE_EQ(layer.bits.file, 8 * static_cast<double>(section.file_bytes()) / size);
    EXPECT_DOUBLE_EQ(layer.bits.file, layer.bits.coded + layer.bits.side);
    EXPECT_GT(layer.gap, -0.15) << layer.name;  // the weights are not quite Gaussian
    EXPECT_LT(layer.gap, 0.5) << layer.name;
    EXPECT_DOUBLE_EQ(layer.gap, layer.bits.coded - layer.limit_bits);
    weights += layer.rows * layer.cols;
    coded += layer.bits.coded * size;
    quantized_bytes += static_cast<int64_t>(section.file_bytes());
  }
  for (const Section& section : reader.sections())
    if (section.is_tensor() && section.kind != SectionKind::kQuantized)
      kept += static_cast<int64_t>(section.file_bytes());
  EXPECT_EQ(report.quantized_weights, weights);
  EXPECT_EQ(report.kept_bytes, kept);
  EXPECT_NEAR(report.bits.file,
              8 * static_cast<double>(quantized_bytes) / static_cast<double>(weights), 1e-9);
  EXPECT_NEAR(report.bits.coded, coded / static_cast<double>(weights), 1e-9);

  const Json json = Json::parse(to_json(report));
  for (const char* field :
       {"schema", "model_id", "options", "totals", "stages", "layers", "version"})
    EXPECT_TRUE(json.contains(field)) << field;
  EXPECT_EQ(json["layers"].size(), 14U);
  EXPECT_EQ(json["totals"]["file_bytes"], report.file_bytes);
  for (const Json& stage : json["stages"]) {
    EXPECT_GE(stage["seconds"], 0);
    EXPECT_GT(stage["peak_bytes"], 0);
  }
}

TEST_F(QuantizeModel, WhatIsKeptIsKeptExactly) {
  run(options(Method::kRtn, 4));
  const ContainerReader reader(file("out.wsic"));
  const CheckpointSource checkpoint(file("model"));
  for (const char* name : {kEmbedding, kFinalNorm}) {
    EXPECT_EQ(reader.section(name).kind, SectionKind::kBf16);
    const auto found = reader.raw(name);
    const Matrix<float> expected = checkpoint.matrix(name);
    ASSERT_EQ(found.size(), expected.values().size());
    for (size_t i = 0; i < found.size(); ++i)
      ASSERT_EQ(float_from_bf16(found[i]), expected.values()[i]);
  }
}

TEST_F(QuantizeModel, LimitsCanBeLeftOut) {
  QuantizeOptions plain = options(Method::kWatersic, 2, Source::kNone);
  plain.limits = false;
  const QuantizeReport report = run(plain);
  for (const LayerReport& layer : report.layers) EXPECT_FALSE(layer.has_limit);
  EXPECT_FALSE(Json::parse(to_json(report))["layers"][0].contains("gap"));
}

TEST_F(QuantizeModel, ErrorsNameWhatIsWrongAndLeaveNothing) {
  const std::string poor = error_of(options(Method::kWatersic, 0.05));
  EXPECT_NE(poor.find("side information"), std::string::npos) << poor;
  EXPECT_NE(poor.find("needs "), std::string::npos) << poor;
  EXPECT_NE(error_of(options(Method::kGptq, 2.5)).find("integer grid"), std::string::npos);
  QuantizeOptions wrong = options(Method::kWatersic, 2);
  wrong.calibration.sequence_length = 129;
  EXPECT_NE(error_of(wrong).find("at most 128"), std::string::npos);
  wrong = options(Method::kWatersic, 2, Source::kText);
  wrong.calibration.file = file("absent.txt");
  EXPECT_NE(error_of(wrong).find("absent.txt"), std::string::npos);
  write_file(file("short.txt"), "short");
  wrong.calibration.file = file("short.txt");
  EXPECT_NE(error_of(wrong).find("short.txt"), std::string::npos);
}

TEST_F(QuantizeModel, ProgressIsTold) {
  std::vector<ProgressEvent> events;
  quantize_model(file("model"), file("out.wsic"), options(Method::kWatersic, 2),
                 [&](const ProgressEvent& event) { events.push_back(event); });
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.front().stage, "sampling calibration text");
  EXPECT_EQ(events.back().stage, "quantizing");
  EXPECT_EQ(events.back().done, 2);
  EXPECT_EQ(events.back().total, 2);
  for (const ProgressEvent& event : events) EXPECT_LE(event.done, event.total) << event.stage;
}

// Asks for a stop at the n-th question.
StopFn stop_at(int n) {
  auto asked = std::make_shared<int>(0);
  return [asked, n] { return ++*asked >= n; };
}

TEST_F(QuantizeModel, AStoppedRunIsContinuedToTheSameBytes) {
  const QuantizeOptions whole = options(Method::kWatersic, 2);
  run(whole, "whole.wsic");
  QuantizeOptions more = whole;
  int stops = 0;
  for (int patience = 40;; patience += 7) {
    try {
      quantize_model(file("model"), file("parts.wsic"), more, {}, stop_at(patience));
      break;
    } catch (const Interrupted&) {
      ++stops;
      EXPECT_FALSE(std::filesystem::exists(file("parts.wsic")));
      more.resume = true;
    }
  }
  EXPECT_GE(stops, 3);
  EXPECT_EQ(bytes_of("whole.wsic"), bytes_of("parts.wsic"));
  EXPECT_FALSE(std::filesystem::exists(file("parts.wsic.work")));
}

TEST_F(QuantizeModel, AnUnfinishedRunIsContinuedByItsOwnOptionsOnly) {
  const QuantizeOptions first = options(Method::kWatersic, 2);
  const auto attempt = [&](const QuantizeOptions& options) -> std::string {
    try {
      quantize_model(file("model"), file("half.wsic"), options, {}, stop_at(30));
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  };
  QuantizeOptions again = first;
  again.resume = true;
  EXPECT_NE(attempt(again).find("found none"), std::string::npos);
  EXPECT_NE(attempt(first).find("a run with resume continues it"), std::string::npos);
  EXPECT_NE(attempt(first).find("holds an unfinished run"), std::string::npos);
  again.bits = 3;
  EXPECT_NE(attempt(again).find("options: bits: was 2.0, is 3.0"), std::string::npos)
      << attempt(again);
  again = options(Method::kWatersic, 2, Source::kText);
  again.resume = true;
  EXPECT_NE(attempt(again).find("calibration"), std::string::npos) << attempt(again);
  std::filesystem::remove_all(file("half.wsic.work"));
}

TEST_F(QuantizeModel, ADamagedTensorOfAnUnfinishedRunIsFound) {
  QuantizeOptions more = options(Method::kHuffmanGptq, 2);
  const auto work = file("half.wsic.work");
  const auto first_stage_is_saved = [&] {
    return std::filesystem::exists(work / "block-0-qkv.json");
  };
  EXPECT_THROW(quantize_model(file("model"), file("half.wsic"), more, {}, first_stage_is_saved),
               Interrupted);
  const auto tensor = work / "model.layers.0.self_attn.q_proj.weight.tensor";
  std::string bytes = read_bytes(tensor);
  bytes[bytes.size() / 2] ^= 1;
  std::ofstream(tensor, std::ios::binary) << bytes;
  more.resume = true;
  EXPECT_THROW(quantize_model(file("model"), file("half.wsic"), more), Error);
  std::filesystem::remove_all(file("half.wsic.work"));
}

TEST_F(QuantizeModel, LayersHaveTheirOwnTreatment) {
  QuantizeOptions some = options(Method::kWatersic, 2, Source::kNone);
  some.overrides = {"down_proj:bits=4,trellis=0", "layers\\.1\\..*down_proj:bits=3"};
  some.keep = {"0\\.self_attn\\.q_proj"};
  const QuantizeReport report = run(some, "own.wsic");
  const ContainerReader reader(file("own.wsic"));
  double spent = 0, weights = 0;
  for (const LayerReport& layer : report.layers) {
    const auto size = static_cast<double>(layer.rows * layer.cols);
    const bool kept = layer.name == "model.layers.0.self_attn.q_proj.weight";
    EXPECT_EQ(layer.kept, kept);
    EXPECT_EQ(reader.section(layer.name).kind, kept ? SectionKind::kBf16 : SectionKind::kQuantized);
    if (layer.name == "model.layers.0.mlp.down_proj.weight") {
      EXPECT_NEAR(layer.bits.file, 4, 0.02);
    }
    if (layer.name == "model.layers.1.mlp.down_proj.weight") {
      EXPECT_NEAR(layer.bits.file, 3, 0.02);
    }
    spent += layer.bits.file * size;
    weights += size;
  }
  // The others share what is left, which may be less than two bits; here it is not enough.
  EXPECT_NEAR(report.bits.file, spent / weights, 1e-9);
  some.overrides = {"no_such_layer:bits=3"};
  EXPECT_NE(error_of(some).find("matches no layer"), std::string::npos);
  some.overrides = {"q_proj:bats=3"};
  EXPECT_NE(error_of(some).find("found 'bats'"), std::string::npos);
}

TEST_F(QuantizeModel, TheWholeFileCanHaveASize) {
  QuantizeOptions some = options(Method::kWatersic, 2, Source::kNone);
  some.file_size = 600'000;
  some.embedding_bits.reset();
  some.head_bits.reset();
  const QuantizeReport report = run(some, "sized.wsic");
  const double weights = static_cast<double>(report.quantized_weights);
  EXPECT_LE(8 * std::fabs(static_cast<double>(report.file_bytes - some.file_size)) / weights, 0.15);
  EXPECT_LE(report.file_bytes, some.file_size + 500);
  // Both rates are had of it.
  ASSERT_EQ(report.embeddings.size(), 1U);
  EXPECT_NEAR(report.embeddings[0].target_bits, report.target_bits + 3, 1e-9);
  some.file_size = 80'000;
  EXPECT_NE(error_of(some).find("file size"), std::string::npos);
}

TEST_F(QuantizeModel, RowsTakenOutAreZero) {
  QuantizeOptions some = options(Method::kWatersic, 2);
  some.zero_rows = "1.gate_proj:5,17";
  const QuantizeReport report = run(some, "rows.wsic");
  for (const LayerReport& layer : report.layers)
    if (layer.name == "model.layers.1.mlp.down_proj.weight") {
      EXPECT_EQ(layer.dead, 2);
    }
  ThreadPool pool;
  const ContainerReader reader(file("rows.wsic"));
  for (const char* name : {"gate_proj", "up_proj"}) {
    const Matrix<float> V =
        dequantize(reader.quantized("model.layers.1.mlp." + std::string(name) + ".weight", pool));
    for (const int64_t row : {5, 17})
      for (const float v : V.row(row)) EXPECT_EQ(v, 0) << name;
  }
}

TEST_F(QuantizeModel, BitsAreSharedAsLayersNeedThem) {
  for (const Allocation allocation : {Allocation::kGradient, Allocation::kSensitivity}) {
    QuantizeOptions uneven = options(Method::kWatersic, 2.5);
    uneven.model.allocation = allocation;
    uneven.overrides = {"layers.0.*o_proj:bits=3"};
    const QuantizeReport report = run(uneven);
    EXPECT_NEAR(report.bits.file, 2.5, 0.03);
    ASSERT_EQ(report.sensitivities.size(), 13U);  // the override takes no part
    size_t next = 0;
    double shares = 0, weights = 0, least = 9, most = 0;
    for (const LayerReport& layer : report.layers) {
      if (layer.name.find("layers.0.self_attn.o_proj") != std::string::npos) continue;
      const LayerSensitivity& sensitivity = report.sensitivities[next++];
      EXPECT_EQ(sensitivity.name, layer.name);
      EXPECT_NEAR(layer.target_bits, sensitivity.share, 0.1) << layer.name;
      for (const double kl : sensitivity.kl_bits) EXPECT_GT(kl, 0) << layer.name;
      shares += sensitivity.share * static_cast<double>(sensitivity.weights);
      weights += static_cast<double>(sensitivity.weights);
      least = std::min(least, sensitivity.share);
      most = std::max(most, sensitivity.share);
      EXPECT_GT(layer.weighted_distortion, 0);
    }
    EXPECT_GT(most - least, 0.2);
    EXPECT_NEAR(shares / weights, 2.5, 0.1);  // the override's half bit is the others' loss
  }
}

TEST_F(QuantizeModel, WhatNeedsGradientsSaysSo) {
  QuantizeOptions grid = options(Method::kGptq, 3);
  grid.model.allocation = Allocation::kGradient;
  EXPECT_EQ(error_of(grid), "allocate: has no meaning for methods of a fixed grid");
  QuantizeOptions blind = options(Method::kWatersic, 3, Source::kNone);
  blind.model.output_metric = true;
  EXPECT_EQ(error_of(blind), "output-metric: needs calibration");
  QuantizeOptions both = options(Method::kWatersic, 3);
  both.lmmse = both.model.output_metric = true;
  EXPECT_EQ(error_of(both), "output-metric: does not go together with lmmse");
}

// Hardly more than an embedding of 4096 x 32, and a head if it is not the same; the layers are
// kept.
std::filesystem::path write_narrow(const std::filesystem::path& dir, bool tied) {
  Json config = small_config();
  config.merge_patch(Json::parse(R"({"hidden_size": 32, "intermediate_size": 32,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16})"));
  config["tie_word_embeddings"] = tied;
  if (!std::filesystem::exists(dir)) {
    ThreadPool pool;
    write_small_checkpoint(pool, dir, 1, config);
  }
  return dir;
}

TEST_F(QuantizeModel, ATiedEmbeddingIsQuantizedOnce) {
  const auto model = write_narrow(file("tied"), true);
  QuantizeOptions some = options(Method::kWatersic, 2);
  some.keep = {"proj"};
  some.embedding_bits = 4;
  some.head_bits.reset();
  const QuantizeReport report = quantize_model(model, file("embedding.wsic"), some);
  ASSERT_EQ(report.embeddings.size(), 1U);
  const LayerReport& embedding = report.embeddings.front();
  EXPECT_EQ(embedding.name, kEmbedding);
  EXPECT_NEAR(embedding.bits.file, 4, 0.02);
  EXPECT_GT(embedding.weighted_distortion, 0);
  EXPECT_LT(embedding.relative_distortion, 0.1);
  EXPECT_EQ(report.layers.size(), 14U);
  EXPECT_EQ(report.bits.file, 16);  // of the layers alone
  // What the first block sees is off from the start.
  EXPECT_GT(report.layers.front().capture_error, 0);

  const ContainerReader reader(file("embedding.wsic"));
  ThreadPool pool;
  reader.verify(pool);
  const Section& section = reader.section(kEmbedding);
  EXPECT_EQ(section.kind, SectionKind::kQuantized);
  EXPECT_DOUBLE_EQ(embedding.bits.file, 8 * static_cast<double>(section.file_bytes()) /
                                            static_cast<double>(section.rows() * section.cols()));
  EXPECT_EQ(reader.manifest()["options"]["embedding_bits"], 4.0);
  int64_t kept = 0;
  for (const Section& other : reader.sections())
    if (other.is_tensor() && other.name != kEmbedding)
      kept += static_cast<int64_t>(other.file_bytes());
  EXPECT_EQ(report.kept_bytes, kept);
  const Matrix<float> E = CheckpointSource(model).matrix(kEmbedding),
                      V = dequantize(reader.quantized(kEmbedding, pool));
  double error = 0, energy = 0;
  for (size_t i = 0; i < E.values().size(); ++i) {
    const double e = E.values()[i], d = V.values()[i] - e;
    error += d * d;
    energy += e * e;
  }
  EXPECT_LT(error, 0.1 * energy);
  EXPECT_EQ(Json::parse(to_json(report))["embeddings"].size(), 1U);

  some.threads = 1;
  quantize_model(model, file("one.wsic"), some);
  EXPECT_EQ(bytes_of("one.wsic"), bytes_of("embedding.wsic"));
}

TEST_F(QuantizeModel, AHeadOfItsOwnIsQuantizedLast) {
  const auto model = write_narrow(file("own-head"), false);
  QuantizeOptions some = options(Method::kWatersic, 2);
  some.keep = {"proj"};
  some.embedding_bits = 3;
  some.head_bits = 4;
  const QuantizeReport whole = quantize_model(model, file("whole.wsic"), some);
  ASSERT_EQ(whole.embeddings.size(), 2U);
  EXPECT_EQ(whole.embeddings[0].name, kEmbedding);
  EXPECT_NEAR(whole.embeddings[0].bits.file, 3, 0.02);
  EXPECT_EQ(whole.embeddings[1].name, kHead);
  EXPECT_NEAR(whole.embeddings[1].bits.file, 4, 0.02);

  // Stopped when the embedding is there, and again when all layers are.
  for (const char* last : {"matrix-model.embed_tokens.weight.json", "block-1-down.json"}) {
    some.resume = std::filesystem::exists(file("parts.wsic.work"));
    EXPECT_THROW(
        quantize_model(model, file("parts.wsic"), some, {},
                       [&] { return std::filesystem::exists(file("parts.wsic.work") / last); }),
        Interrupted);
  }
  some.resume = true;
  const QuantizeReport parts = quantize_model(model, file("parts.wsic"), some);
  EXPECT_EQ(bytes_of("whole.wsic"), bytes_of("parts.wsic"));
  EXPECT_EQ(parts.embeddings.size(), 2U);
}

TEST_F(QuantizeModel, AnEmbeddingNeedsNoCalibrationAndLeavesRoomInTheFile) {
  const auto model = write_narrow(file("tied"), true);
  QuantizeOptions some = options(Method::kRtn, 3, Source::kNone);
  some.embedding_bits.reset();
  some.head_bits = 2;
  const QuantizeReport blind = quantize_model(model, file("blind.wsic"), some);
  ASSERT_EQ(blind.embeddings.size(), 1U);
  EXPECT_NEAR(blind.embeddings[0].bits.file, 2, 0.02);
  EXPECT_EQ(blind.embeddings[0].weighted_distortion, 0);

  some = options(Method::kHuffmanRtn, 2, Source::kNone);
  some.embedding_bits = 2;
  some.head_bits.reset();
  some.file_size = 80'000;
  const QuantizePlan plan = plan_quantization(model, some);
  ASSERT_EQ(plan.embeddings.size(), 1U);
  EXPECT_NEAR(static_cast<double>(plan.file_bytes), 80'000, 1000);
  const QuantizeReport report = quantize_model(model, file("sized.wsic"), some);
  EXPECT_NEAR(static_cast<double>(report.file_bytes), 80'000, 4000);
}

// The small checkpoint has one matrix for embedding and head: the file holds the axes.
TEST_F(QuantizeModel, APrincipalBasisIsTheSameAtAnyNumberOfThreadsAndWhenResumed) {
  QuantizeOptions two = options(Method::kWatersic, 2.5);
  two.model.output_metric = false;  // half the time
  two.model.allocation = Allocation::kUniform;
  QuantizeOptions one = two;
  one.model.basis = two.model.basis = Basis::kPrincipal;
  one.threads = 1;
  const QuantizeReport report = run(two, "two.wsic");
  EXPECT_NEAR(report.bits.file, 2.5, 0.01);
  EXPECT_GT(report.basis_bits, 0);
  EXPECT_NEAR(Json::parse(to_json(report))["totals"]["basis_bits"], report.basis_bits, 1e-12);
  double bits = report.basis_bits;
  for (const LayerReport& layer : report.layers) {
    bits += layer.bits.file * static_cast<double>(layer.rows * layer.cols) /
            static_cast<double>(report.quantized_weights);
    EXPECT_LT(layer.relative_distortion, 0.3) << layer.name;
  }
  EXPECT_NEAR(report.bits.file, bits, 1e-9);
  run(one, "one.wsic");
  EXPECT_EQ(bytes_of("one.wsic"), bytes_of("two.wsic"));

  const auto work = file("two-parts.wsic.work");
  const auto stage_is_saved = [&] { return std::filesystem::exists(work / "block-0-o.json"); };
  EXPECT_THROW(quantize_model(file("model"), file("two-parts.wsic"), two, {}, stage_is_saved),
               Interrupted);
  two.resume = true;
  for (const char* name : {"basis.tensor", "basis.safetensors"}) {
    const std::string whole = read_bytes(work / name);
    std::string damaged = whole;
    damaged[damaged.size() / 2] ^= 1;
    std::ofstream(work / name, std::ios::binary) << damaged;
    EXPECT_THROW(quantize_model(file("model"), file("two-parts.wsic"), two), Error);
    std::ofstream(work / name, std::ios::binary) << whole;
  }
  quantize_model(file("model"), file("two-parts.wsic"), two);
  EXPECT_EQ(bytes_of("two-parts.wsic"), bytes_of("two.wsic"));
}

TEST_F(QuantizeModel, AnUntiedModelIsStoredInItsBasis) {
  Json config = small_config();
  config["tie_word_embeddings"] = false;
  ThreadPool pool;
  write_small_checkpoint(pool, file("untied"), 1, config);
  QuantizeOptions asked = options(Method::kWatersic, 2.5);
  asked.model.basis = Basis::kPrincipal;
  const QuantizeReport report = quantize_model(file("untied"), file("untied.wsic"), asked);
  EXPECT_EQ(report.basis_bits, 0);
  const ContainerReader reader(file("untied.wsic"));
  EXPECT_FALSE(reader.has("basis"));
  for (const uint16_t gain : reader.raw("model.norm.weight")) EXPECT_EQ(gain, bf16_from_float(1));
}

}  // namespace
}  // namespace watersic
