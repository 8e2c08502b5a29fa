#include "pipeline/work_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "support/error_of.h"
#include "support/test_folder.h"
#include "watersic/error.h"

namespace watersic {
namespace {

Json identity(int bits) {
  return {{"version", "1"}, {"input", Json::object()}, {"options", {{"bits", bits}}}};
}

class WorkFolderTest : public ::testing::Test {
 protected:
  WorkFolderTest() {
    stage_.layers.push_back({.name = "layer", .rows = 1, .cols = 2});
    stage_.tensors.push_back({std::byte{1}, std::byte{2}});
  }
  std::filesystem::path output() const { return folder_ / "out.wsic"; }
  std::filesystem::path work() const { return folder_ / "out.wsic.work"; }
  std::string open_error(int bits, bool resume) {
    return error_of([&] { const WorkFolder opened(output(), identity(bits), resume); });
  }

  TestFolder folder_{"work-folder"};
  FinishedStage stage_;
};

TEST_F(WorkFolderTest, GivesBackWhatWasSaved) {
  const std::vector<std::vector<int32_t>> windows{{1, 2}, {3, 4}};
  {
    const WorkFolder first(output(), identity(2), false);
    EXPECT_FALSE(first.windows());
    first.save_windows(windows);
    first.save_stage(1, Capture::kO, stage_);
  }
  const WorkFolder again(output(), identity(2), true);
  EXPECT_EQ(again.windows(), windows);
  EXPECT_EQ(again.stage(1, Capture::kO)->tensors, stage_.tensors);
  EXPECT_EQ(again.stage(1, Capture::kO)->layers[0].name, "layer");
  EXPECT_FALSE(again.stage(0, Capture::kO));
}

TEST_F(WorkFolderTest, IsHeldByOneAtATime) {
  std::optional<WorkFolder> first(std::in_place, output(), identity(2), false);
  for (const bool resume : {false, true}) {
    const std::string error = open_error(3, resume);
    EXPECT_NE(error.find("is held by process " + std::to_string(::getpid()) + " on "),
              std::string::npos)
        << error;
  }
  first.reset();
  EXPECT_EQ(open_error(2, true), "");
}

TEST_F(WorkFolderTest, TakesNothingOfAnotherRun) {
  { WorkFolder(output(), identity(3), false).save_stage(0, Capture::kO, stage_); }
  const std::filesystem::path stage = work() / "block-0-o.json";
  std::filesystem::rename(stage, folder_ / "kept.json");
  std::filesystem::remove_all(work());
  {
    const WorkFolder mine(output(), identity(2), false);
    std::filesystem::rename(folder_ / "kept.json", stage);
    const std::string error = error_of([&] { mine.stage(0, Capture::kO); });
    EXPECT_NE(error.find("block-0-o.json: belongs to another run"), std::string::npos) << error;
  }
  // Without the file that says what the run is, nothing that lies there is believed.
  std::filesystem::remove(work() / "run.json");
  const std::string error = open_error(2, false);
  EXPECT_NE(error.find("found block-0-o.json"), std::string::npos) << error;
  EXPECT_NE(open_error(2, true).find("found none"), std::string::npos);
}

TEST_F(WorkFolderTest, FindsAChangedToken) {
  { WorkFolder(output(), identity(2), false).save_windows({{1, 2}, {3, 4}}); }
  const std::filesystem::path file = work() / "windows.json";
  std::ifstream in(file);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  text[text.rfind('3')] = '5';
  std::ofstream(file) << text;
  const WorkFolder again(output(), identity(2), true);
  const std::string error = error_of([&] { again.windows(); });
  EXPECT_NE(error.find("windows.json: is damaged"), std::string::npos) << error;
}

// Whatever is left when a run is killed while it takes its folder away, the next one works.
TEST_F(WorkFolderTest, MayBeKilledAsItIsRemoved) {
  {
    const WorkFolder first(output(), identity(2), false);
    first.save_windows({{1}});
    first.save_stage(0, Capture::kO, stage_);
    // As after the rename, and after each unlink.
    std::filesystem::copy(work(), folder_ / "out.wsic.work.removed");
    first.remove();
    EXPECT_FALSE(std::filesystem::exists(work()));
  }
  for (int left = 0;; ++left) {
    const std::filesystem::path removed = folder_ / "out.wsic.work.removed";
    { WorkFolder(output(), identity(2), false).save_stage(0, Capture::kO, stage_); }
    EXPECT_FALSE(std::filesystem::exists(removed));
    std::filesystem::rename(work(), removed);
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(removed))
      if (files++ < left) std::filesystem::remove(entry.path());
    if (left > files) break;
  }
  EXPECT_EQ(open_error(4, false), "");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.wsic.work.removed"));
}

}  // namespace
}  // namespace watersic
