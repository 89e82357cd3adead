# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Networks for images and video: torchvision's, timm's, and nets for segmentation."""
import torch, torch.nn as nn, torch.nn.functional as F

from registry import WithOutput, classes, cross_entropy, images, register

# name here: (function of torchvision.models, extent of the image, its options)
TORCHVISION = {
    "resnet18": ("resnet18", 64, {}),
    "resnet50": ("resnet50", 64, {}),
    "resnext50": ("resnext50_32x4d", 64, {}),
    "wide_resnet50_2": ("wide_resnet50_2", 64, {}),
    "densenet121": ("densenet121", 64, {}),
    "mobilenet_v2": ("mobilenet_v2", 64, {}),
    "mobilenet_v3_small": ("mobilenet_v3_small", 64, {}),
    "mnasnet0_5": ("mnasnet0_5", 64, {}),
    "efficientnet_b0": ("efficientnet_b0", 64, {}),
    "efficientnet_v2_s": ("efficientnet_v2_s", 64, {}),
    "shufflenet_v2_x0_5": ("shufflenet_v2_x0_5", 64, {}),
    "squeezenet1_1": ("squeezenet1_1", 64, {}),
    "vgg11_bn": ("vgg11_bn", 64, {}),
    "googlenet": ("googlenet", 96, dict(aux_logits=False, init_weights=False)),
    "inception_v3": ("inception_v3", 96, dict(aux_logits=False, init_weights=False)),
    "regnet_y_400mf": ("regnet_y_400mf", 64, {}),
    "regnet_x_400mf": ("regnet_x_400mf", 64, {}),
    "tv_swin_v2_t": ("swin_v2_t", 64, {}),
}

# name here: (timm's name, extent of the image, its options)
TIMM = {
    "convnext_atto": ("convnext_atto", 64, {}),
    "convnextv2_atto": ("convnextv2_atto", 64, {}),
    "vit_tiny": ("vit_tiny_patch16_224", 64, dict(img_size=64, depth=4)),
    "deit_tiny_distilled": ("deit_tiny_distilled_patch16_224", 64, dict(img_size=64, depth=4)),
    "swin_tiny": ("swin_tiny_patch4_window7_224", 64, dict(img_size=64, window_size=4, depths=(2, 2, 2, 2))),
    "swinv2_tiny": ("swinv2_tiny_window8_256", 64, dict(img_size=64, window_size=4, depths=(2, 2, 2, 2))),
    "maxvit_pico": ("maxvit_pico_rw_256", 64, dict(img_size=64)),
    "coatnet_nano": ("coatnet_nano_rw_224", 64, dict(img_size=64)),
    "mobilevit_xxs": ("mobilevit_xxs", 64, {}),
    "mobilevitv2_050": ("mobilevitv2_050", 64, {}),
    "poolformer_s12": ("poolformer_s12", 64, {}),
    "ghostnet_050": ("ghostnet_050", 64, {}),
    "ghostnetv2_100": ("ghostnetv2_100", 64, {}),
    "repvgg_a0": ("repvgg_a0", 64, {}),
    "levit_128s": ("levit_128s", 96, dict(img_size=96)),
    "xcit_nano": ("xcit_nano_12_p16_224", 64, dict(depth=3)),
    "edgenext_xx_small": ("edgenext_xx_small", 64, {}),
    "fastvit_t8": ("fastvit_t8", 64, {}),
    "fastvit_sa12": ("fastvit_sa12", 64, {}),
    "nf_resnet26": ("nf_resnet26", 64, {}),
    "eca_nfnet_l0": ("eca_nfnet_l0", 64, {}),
    "dm_nfnet_f0": ("dm_nfnet_f0", 64, {}),
    "ecaresnet26t": ("ecaresnet26t", 64, {}),
    "seresnet18": ("seresnet18", 64, {}),
    "volo_d1": ("volo_d1_224", 64, dict(img_size=64)),
    "beit": ("beit_base_patch16_224", 64, dict(img_size=64, depth=2, embed_dim=96, num_heads=3)),
    "cait_xxs": ("cait_xxs24_224", 64, dict(img_size=64, depth=3)),
    "hiera_tiny": ("hiera_tiny_224", 64, dict(img_size=(64, 64))),
    "davit_tiny": ("davit_tiny", 64, dict(depths=(1, 1, 1, 1))),
    "coat_lite_tiny": ("coat_lite_tiny", 64, dict(img_size=64)),
    "pit_ti": ("pit_ti_224", 64, dict(img_size=64)),
    "tnt_s": ("tnt_s_patch16_224", 64, dict(img_size=64, depth=3)),
    "twins_svt_small": ("twins_svt_small", 64, dict(img_size=64, depths=(1, 1, 2, 1))),
    "visformer_tiny": ("visformer_tiny", 64, dict(img_size=64)),
    "crossvit_tiny": ("crossvit_tiny_240", 240, {}),
    "gmlp_ti16": ("gmlp_ti16_224", 64, dict(img_size=64)),
    "inception_next_atto": ("inception_next_atto", 64, {}),
    "repvit_m0_9": ("repvit_m0_9", 64, {}),
    "starnet_s050": ("starnet_s050", 64, {}),
    "pvt_v2_b0": ("pvt_v2_b0", 64, {}),
    "sequencer2d_s": ("sequencer2d_s", 64, dict(layers=(1, 1, 1, 1))),
    "hrnet_w18_small": ("hrnet_w18_small", 64, {}),
    "res2net50d": ("res2net50d", 64, {}),
    "resnest14d": ("resnest14d", 64, {}),
    "skresnet18": ("skresnet18", 64, {}),
    "dla46_c": ("dla46_c", 64, {}),
    "rexnet_100": ("rexnet_100", 64, {}),
    "lambda_resnet26t": ("lambda_resnet26t", 64, {}),
    "halonet26t": ("halonet26t", 256, {}),
    "botnet26t": ("botnet26t_256", 256, {}),
    "focalnet_tiny": ("focalnet_tiny_srf", 64, {}),
    "convmixer": ("convmixer_768_32", 64, {}),
    "mvitv2_tiny": ("mvitv2_tiny", 64, dict(img_size=64)),
    "gcvit_xxtiny": ("gcvit_xxtiny", 64, dict(img_size=64)),
    "efficientvit_b0": ("efficientvit_b0", 64, {}),
    "efficientvit_m0": ("efficientvit_m0", 224, {}),
    "eva02_tiny": ("eva02_tiny_patch14_224", 56, dict(img_size=56, depth=3)),
    "shvit_s1": ("shvit_s1", 64, {}),
    "convnext_atto_rms": ("convnext_atto_rms", 64, {}),
    "vit_dinov3": ("vit_tiny_patch16_dinov3_qkvb", 64, dict(img_size=64, depth=3)),
}


def register_torchvision(name, function, size, options):
    def make():
        import torchvision

        net = getattr(torchvision.models, function)(weights=None, num_classes=10, **options)
        if name == "vgg11_bn":  # its head alone has a hundred million weights
            for i, (n, m) in {0: (25088, 64), 3: (64, 64), 6: (64, 10)}.items():
                net.classifier[i] = nn.Linear(n, m)
        return WithOutput(net, lambda o: o if torch.is_tensor(o) else o[0])

    register(name, make, images(2, size), classes(), cross_entropy)


def register_timm(name, model, size, options):
    def make():
        import timm

        return timm.create_model(model, pretrained=False, num_classes=10, **options)

    register(name, make, images(2, size), classes(), cross_entropy)


for name, row in TORCHVISION.items():
    register_torchvision(name, *row)
for name, row in TIMM.items():
    register_timm(name, *row)


def mlp_mixer(**options):
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(10, 64, patch_size=16, num_blocks=4, embed_dim=96, **options)


def res_mlp():
    from timm.models.mlp_mixer import Affine, ResBlock

    return mlp_mixer(mlp_ratio=4, block_layer=ResBlock, norm_layer=Affine)


register("mixer_s16", mlp_mixer, images(), classes(), cross_entropy)
register("resmlp", res_mlp, images(), classes(), cross_entropy)


def segmentation(name, function, **options):
    def make():
        import torchvision

        net = getattr(torchvision.models.segmentation, function)(weights=None, weights_backbone=None, num_classes=5, **options)
        return WithOutput(net, lambda o: o["out"])

    register(name, make, images(), lambda: [("y", torch.randint(0, 5, (2, 64, 64)))], cross_entropy)


segmentation("deeplabv3_mnv3", "deeplabv3_mobilenet_v3_large", aux_loss=False)
segmentation("lraspp_mnv3", "lraspp_mobilenet_v3_large")
segmentation("fcn_resnet50", "fcn_resnet50", aux_loss=False)


class UNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()

        def blk(i, o):
            return nn.Sequential(
                nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()
            )

        self.d1 = blk(3, c)
        self.d2 = blk(c, 2 * c)
        self.d3 = blk(2 * c, 4 * c)
        self.u2 = nn.ConvTranspose2d(4 * c, 2 * c, 2, 2)
        self.u1 = nn.ConvTranspose2d(2 * c, c, 2, 2)
        self.b2 = blk(4 * c, 2 * c)
        self.b1 = blk(2 * c, c)
        self.o = nn.Conv2d(c, 5, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.d3(F.max_pool2d(b, 2))
        b = self.b2(torch.cat([self.u2(c), b], 1))
        a = self.b1(torch.cat([self.u1(b), a], 1))
        return self.o(a)


register("unet", UNet, images(2, 32), lambda: [("y", torch.randint(0, 5, (2, 32, 32)))], cross_entropy)


class BilinearUNet(UNet):
    def __init__(self, c=16):
        super().__init__(c)
        self.u2 = nn.Conv2d(4 * c, 2 * c, 1)
        self.u1 = nn.Conv2d(2 * c, c, 1)

    def forward(self, x):
        up = lambda t, r: F.interpolate(t, size=r.shape[-2:], mode="bilinear", align_corners=True)
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.d3(F.max_pool2d(b, 2))
        b = self.b2(torch.cat([self.u2(up(c, b)), b], 1))
        a = self.b1(torch.cat([self.u1(up(b, a)), a], 1))
        return self.o(a)


register("unet_bilinear", BilinearUNet, images(2, 36), lambda: [("y", torch.randint(0, 5, (2, 36, 36)))], cross_entropy)


def video_resnet():
    import torchvision

    return torchvision.models.video.r3d_18(weights=None, num_classes=10)


register("r3d_18", video_resnet, lambda: [("x", torch.randn(2, 3, 8, 32, 32))], classes(), cross_entropy)
